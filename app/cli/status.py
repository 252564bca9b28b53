"""What the command's exit status says."""

from enum import IntEnum

from app.errors import (
    AgentError,
    ConfigurationError,
    DatabaseError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidRequest,
    MakegoodError,
    NotAllowed,
    NotFound,
    RevisionMoved,
    UnknownSource,
)


class ExitStatus(IntEnum):
    """The exit statuses of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


_OF_ERROR: tuple[tuple[type[MakegoodError], ExitStatus], ...] = (
    (ConfigurationError, ExitStatus.USAGE),
    (InvalidRequest, ExitStatus.USAGE),
    (NotFound, ExitStatus.NOT_FOUND),
    (UnknownSource, ExitStatus.NOT_FOUND),
    (NotAllowed, ExitStatus.CONFLICT),
    (RevisionMoved, ExitStatus.CONFLICT),
    (IdempotencyKeyReused, ExitStatus.CONFLICT),
    (IdempotencyKeyInUse, ExitStatus.CONFLICT),
    (DatabaseError, ExitStatus.UNAVAILABLE),
    (AgentError, ExitStatus.UNAVAILABLE),
)

_OF_ANSWER = {
    400: ExitStatus.USAGE,
    404: ExitStatus.NOT_FOUND,
    409: ExitStatus.CONFLICT,
    412: ExitStatus.CONFLICT,
    422: ExitStatus.USAGE,
    429: ExitStatus.UNAVAILABLE,
    503: ExitStatus.UNAVAILABLE,
}


class Refused(Exception):
    """The running service answered with a problem, or not at all.

    Args:
        message: for the person at the keyboard; it begins with the problem's code, where there is one.
    """

    def __init__(self, message: str, status: ExitStatus) -> None:
        super().__init__(message)
        self.status = status


def of_error(error: MakegoodError) -> ExitStatus:
    """The exit status for an error of Makegood's own."""
    return next((status for kind, status in _OF_ERROR if isinstance(error, kind)), ExitStatus.FAILURE)


def of_answer(status: int) -> ExitStatus:
    """The exit status for an HTTP status of the running service."""
    if 200 <= status < 300:  # noqa: PLR2004 - the 2xx
        return ExitStatus.OK
    return _OF_ANSWER.get(status, ExitStatus.FAILURE)
