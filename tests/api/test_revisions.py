"""Entity tags and preferences, as clients write them."""

import pytest

from app.api.revisions import match, none_match, wait_seconds


@pytest.mark.parametrize("value", ['"7"', 'W/"7"', "*", '"6", "7"', '"6" , W/"7"', "7"])
def test_if_none_match_names_the_revision(value: str) -> None:
    assert none_match([value], 7)


@pytest.mark.parametrize("value", ['"8"', '"70"', '"', "", "seven", '"6", "8"'])
def test_if_none_match_names_another(value: str) -> None:
    assert not none_match([value], 7)


@pytest.mark.parametrize("value", ['"7"', "*", '"6", "7"', "7"])
def test_if_match_allows_the_revision(value: str) -> None:
    assert match([value], 7)


@pytest.mark.parametrize("value", ['W/"7"', '"8"', "", "seven"])
def test_if_match_refuses_it(value: str) -> None:
    assert not match([value], 7)


def test_several_headers_are_one_list() -> None:
    assert match(['"6"', '"7"'], 7)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("wait=20", 20),
        ("WAIT=20", 20),
        ('wait="20"', 20),
        ("respond-async, wait=5", 5),
        ("wait=5; foo", 5),
        ("wait=0000020", 20),
        ("wait=0", 0),
        ("wait=31", 30),
        ("wait=" + "9" * 5000, 30),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=²", None),
        ("wait", None),
        ("waiting=20", None),
        ("", None),
    ],
)
def test_a_wait_is_read_and_capped(value: str, seconds: int | None) -> None:
    assert wait_seconds([value]) == seconds
