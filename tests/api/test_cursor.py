"""The cursor: there and back, and nothing else."""

import base64
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import cursor
from app.errors import InvalidRequest

FILTERS = {"status": ["held"], "source": None}


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_it_carries_the_sort_key_whole(at: datetime, id_: UUID) -> None:
    text = cursor.encode(at, id_, FILTERS)
    assert cursor.decode(text, dict(reversed(FILTERS.items()))) == (at, id_)
    assert text.replace("-", "").replace("_", "").isalnum()


def test_another_list_s_cursor_is_refused() -> None:
    text = cursor.encode(datetime(2026, 1, 1, tzinfo=UTC), uuid4(), FILTERS)
    with pytest.raises(InvalidRequest) as refused:
        cursor.decode(text, {**FILTERS, "status": ["error"]})
    assert refused.value.errors[0][0] == "cursor"


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        cursor.decode(text, FILTERS)


def test_a_time_out_of_range_is_refused() -> None:
    packed = cursor._LAYOUT.pack(cursor._digest(FILTERS), 2**63 - 1, uuid4().bytes)
    with pytest.raises(InvalidRequest):
        cursor.decode(base64.urlsafe_b64encode(packed).decode().rstrip("="), FILTERS)
