"""Exit statuses: every error has one, and a program can tell what to do by it."""

import inspect

import pytest

from app import errors
from app.cli.status import ExitStatus, of_answer, of_error
from app.errors import MakegoodError

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MakegoodError)]

EXPECTED = {
    errors.ConfigurationError: ExitStatus.USAGE,
    errors.InvalidRequest: ExitStatus.USAGE,
    errors.NotFound: ExitStatus.NOT_FOUND,
    errors.UnknownSource: ExitStatus.NOT_FOUND,
    errors.NotAllowed: ExitStatus.CONFLICT,
    errors.RevisionMoved: ExitStatus.CONFLICT,
    errors.IdempotencyKeyReused: ExitStatus.CONFLICT,
    errors.IdempotencyKeyInUse: ExitStatus.CONFLICT,
    errors.DatabaseError: ExitStatus.UNAVAILABLE,
    errors.DatabaseUnavailable: ExitStatus.UNAVAILABLE,
    errors.DatabaseBehind: ExitStatus.UNAVAILABLE,
    errors.EmbeddedDatabaseError: ExitStatus.UNAVAILABLE,
    errors.AgentError: ExitStatus.UNAVAILABLE,
    errors.Rejected: ExitStatus.UNAVAILABLE,
    errors.Unavailable: ExitStatus.UNAVAILABLE,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_its_exit_status(kind: type[MakegoodError]) -> None:
    assert of_error(kind("x")) is EXPECTED.get(kind, ExitStatus.FAILURE)


@pytest.mark.parametrize("status", [200, 202])
def test_every_2xx_is_a_success(status: int) -> None:
    assert of_answer(status) is ExitStatus.OK


@pytest.mark.parametrize("status", [301, 401, 403, 500, 502])
def test_any_other_answer_is_a_failure(status: int) -> None:
    assert of_answer(status) is ExitStatus.FAILURE
