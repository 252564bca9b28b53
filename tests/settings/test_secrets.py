"""A secret of the configuration is in no fault and in no repr."""

from collections.abc import Callable

import pytest

from app.settings import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"whsec_c2VjcmV0"', f'"{SECRET}!"'),
        ('"https://psp.example"', f'"ftp://user:{SECRET}@psp"'),
        ('"standard-webhooks"', '"${TOKEN}"'),
        ('saga = "purchase"', 'saga = "${TOKEN}"'),
        ('"POST"', '"${TOKEN}"'),
        ('agent = "psp"', 'agent = "${TOKEN}"'),
        ('"/refunds"', '"/{${TOKEN} x}"'),
        ("", f'[database]\nurl = "mysql://user:{SECRET}@host/db"\n'),
        ("", f'[agents.third]\nbase_url = "http://t"\nheaders = {{ Authorization = "{SECRET}\\u0000" }}\n'),
    ],
)
def test_no_fault_repeats_a_secret(faults: Faults, old: str, new: str) -> None:
    found = faults(old, new, TOKEN=SECRET)
    assert found != []
    assert all(SECRET not in fault for fault in found)


def test_no_repr_shows_a_secret(small: Load) -> None:
    settings = small(
        '"https://psp.example"',
        f'"https://user:{SECRET}@psp.example"\nheaders = {{ Authorization = "{SECRET}" }}',
        DATABASE_URL=f"postgresql://user:{SECRET}@host/db",
    )
    assert SECRET not in repr(settings)
    assert "c2VjcmV0" not in repr(settings)
