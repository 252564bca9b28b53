"""Ids: the standard library's own, and nobody else's."""

import copy
import pickle
import random
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.ids import fresh, named, serial

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.uuids(), st.text())
def test_a_named_id_is_the_one_that_the_standard_library_gives(namespace: uuid.UUID, name: str) -> None:
    made, theirs = named(namespace, name), uuid.uuid5(namespace, name)
    assert (made, hash(made), str(made), made.bytes) == (theirs, hash(theirs), str(theirs), theirs.bytes)
    assert (made.version, made.variant, made.is_safe) == (5, uuid.RFC_4122, theirs.is_safe)


def test_a_fresh_id_is_a_random_one_of_the_rfc() -> None:
    for _ in range(1000):
        made = fresh()
        assert (made.version, made.variant, uuid.UUID(str(made))) == (4, uuid.RFC_4122, made)


def test_every_bit_of_a_fresh_id_that_is_free_takes_both_values() -> None:
    numbers = [fresh().int for _ in range(1000)]
    ever, always = 0, (1 << 128) - 1
    for number in numbers:
        ever, always = ever | number, always & number
    assert (ever & ~always).bit_count() == 122


def test_a_fresh_id_is_another_one_though_the_program_s_own_random_numbers_are_seeded() -> None:
    random.seed(7)
    first = fresh()
    random.seed(7)
    assert fresh() != first


def test_a_child_draws_other_ids_than_its_parent() -> None:
    """Trap: a fork has the parent's state, and the ids of two processes would meet in one table."""
    # One write a process: print makes two of it where PYTHONUNBUFFERED is set, and the other's id comes between them.
    drawing = "import os; from app.ids import fresh; child = os.fork(); os.write(1, f'{fresh()}\\n'.encode()); child and os.wait()"
    drawn = subprocess.run([sys.executable, "-c", drawing], check=True, capture_output=True, text=True).stdout.split()
    assert len(drawn) == len(set(drawn)) == 2


def test_an_id_is_copied_and_pickled_as_any_other() -> None:
    made = fresh()
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes


@given(st.integers(0, 2**47), st.uuids(version=5), st.text())
def test_a_serial_is_an_id_of_its_time_and_rises_with_it(microseconds: int, one: uuid.UUID, name: str) -> None:
    at = EPOCH + timedelta(microseconds=microseconds)
    made, later = serial(at, one), serial(at + timedelta(milliseconds=1), named(one, name))
    assert (made.version, made.variant, uuid.UUID(str(made))) == (7, uuid.RFC_4122, made)
    assert made.int >> 80 == microseconds // 1000
    assert made < later
    assert made.int & (1 << 76) - 1 == one.int & (1 << 76) - 1
