"""`makegood key new`: what is printed fits together, and no two keys are the same."""

import hashlib
import json
import tomllib

import pytest

from tests.cli.conftest import Makegood


@pytest.mark.parametrize("name", ["shop", 'a "quoted" näme'])
def test_toml_to_paste_has_the_hash_of_the_key(makegood: Makegood, name: str) -> None:
    said = makegood("key", "new", "--name", name, "--scope", "operate")
    key, _, toml = said.out.partition("\n")
    (entry,) = tomllib.loads(toml)["api_keys"]
    assert entry == {"name": name, "scope": "operate", "sha256": hashlib.sha256(key.encode()).hexdigest()}


def test_key_is_a_new_one_each_time(makegood: Makegood) -> None:
    keys = {makegood("key", "new", "--name", "a", "--scope", "read").out.splitlines()[0] for _ in range(5)}
    assert len(keys) == 5
    assert {key[:3] for key in keys} == {"mg_"}


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_key_for_a_program(makegood: Makegood, output: str) -> None:
    shown = json.loads(makegood("key", "new", "--name", "a", "--scope", "read", "-o", output).out)
    assert hashlib.sha256(shown["key"].encode()).hexdigest() == shown["sha256"]


def test_unknown_scope_is_a_mistake(makegood: Makegood) -> None:
    assert makegood("key", "new", "--name", "a", "--scope", "admin").status == 2


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 64])
def test_name_that_the_config_would_not_take_is_a_mistake(makegood: Makegood, name: str) -> None:
    said = makegood("key", "new", "--name", name, "--scope", "read")
    assert (said.status, said.out) == (2, "")
