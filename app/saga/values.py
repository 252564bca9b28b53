"""A changed copy of a frozen value. Some ten are made on the way of each payment, most of them of an operation.

`dataclasses.replace` reads and sets each field by name; here the values' dictionaries are copied, a tenth of its cost.
So these values have no slots.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """A copy of a frozen dataclass without slots and without `__post_init__`, with fields changed.

        Raises:
            TypeError: it has no such field.
        """
        made = object.__new__(type(value))
        fields = made.__dict__
        fields.update(value.__dict__)
        if not changes.keys() <= fields.keys():
            raise TypeError(f"{type(value).__name__} has no {sorted(changes.keys() - fields.keys())}")
        fields.update(changes)
        return made


__all__ = ["replace"]
