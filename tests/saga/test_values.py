"""A changed copy: what `dataclasses.replace` makes, without its cost."""

import dataclasses
from typing import Any

import pytest

from app.saga.model import Status
from app.saga.values import replace
from tests.builders import operation_for


def test_a_copy_differs_in_what_was_changed_alone() -> None:
    operation = operation_for("pay_1")
    changed = replace(operation, status=Status.HELD, attempt=3)
    assert changed == dataclasses.replace(operation, status=Status.HELD, attempt=3)
    assert (operation.status, operation.attempt) == (Status.PENDING, 0)


def test_a_field_that_there_is_not_is_refused() -> None:
    misspelled: dict[str, Any] = {"stauts": Status.HELD}
    with pytest.raises(TypeError, match="Operation has no \\['stauts'\\]"):
        replace(operation_for("pay_1"), **misspelled)
