"""A changed copy: what `dataclasses.replace` makes, without its cost."""

import dataclasses
from typing import Any

import pytest

from app.saga.model import Operation, Status
from app.saga.values import replace, value_of
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


def test_all_values_that_are_copied_so_can_be() -> None:
    """With slots there is no dictionary; and what `__post_init__` checks or makes would be passed over."""
    operation = operation_for("pay_1")
    for value in (operation, operation.steps[0], operation.steps[0].do):
        kind: Any = type(value)
        assert dataclasses.is_dataclass(kind)
        assert not hasattr(kind, "__post_init__")
        assert set(vars(value)) == {field.name for field in dataclasses.fields(kind)}
        assert replace(value) == value
        assert replace(value) is not value


def test_a_copy_knows_nothing_of_what_its_original_is_changed_to() -> None:
    operation = operation_for("pay_1")
    changed = replace(operation, attempt=3)
    object.__setattr__(operation, "attempt", 7)
    assert changed.attempt == 3
    assert hash(replace(changed)) == hash(changed)


def test_a_value_of_all_its_fields_is_what_its_init_makes() -> None:
    operation = operation_for("pay_1")
    fields = dict(vars(operation))
    made = value_of(Operation, fields)
    assert made == operation
    fields["attempt"] = 3
    assert made.attempt == operation.attempt
