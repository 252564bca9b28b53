"""Every error that Makegood raises on purpose, as one drawn tree.

    MakegoodError
    ├── ConfigurationError          the config file has faults; all of them at once
    ├── DatabaseError
    │   ├── DatabaseUnavailable     cannot be reached, or did not answer in time; nothing is promised
    │   ├── DatabaseBehind          the schema is not the one this program needs
    │   └── EmbeddedDatabaseError   the embedded PostgreSQL cannot be started
    ├── WebhookError
    │   ├── UnknownSource
    │   ├── BodyTooLarge
    │   ├── SignatureInvalid
    │   └── MalformedBody
    ├── RequestError
    │   ├── Unauthenticated
    │   ├── ScopeTooSmall
    │   ├── NotFound
    │   ├── InvalidRequest          parameters or body do not validate
    │   ├── NotAllowed              the operation's status does not allow the action
    │   ├── RevisionMoved           If-Match names an older revision
    │   ├── IdempotencyKeyReused    the same key came with another request
    │   └── IdempotencyKeyInUse     the same key's first request is still running
    ├── AgentError                  how a call out ended, where it did not end well
    │   ├── Rejected                finally refused: it did nothing
    │   └── Unavailable             certainly not carried out: it may be tried again
    └── IllegalSignal               a signal that cannot be in this state: a mistake in Makegood

`code` is stable and is what an API problem, a log line and the command line print.
Which HTTP status an error gets stands in one table, `app.api.problems`.
"""

from collections.abc import Sequence
from datetime import timedelta


class MakegoodError(Exception):
    """The root: whatever Makegood raises on purpose."""

    code = "error"


class ConfigurationError(MakegoodError):
    """The configuration has faults.

    Args:
        faults: one line each, beginning with the path of the key.
    """

    code = "configuration"

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class DatabaseError(MakegoodError):
    """Something is wrong with the database."""

    code = "database"


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached, or did not answer in time."""

    code = "database-unavailable"


class DatabaseBehind(DatabaseError):
    """The schema is not the one this program needs."""

    code = "database-behind"


class EmbeddedDatabaseError(DatabaseError):
    """The embedded PostgreSQL cannot be started."""

    code = "embedded-database"


class WebhookError(MakegoodError):
    """A webhook that is not taken; nothing of it is stored."""

    code = "webhook"


class UnknownSource(WebhookError):
    """No source of that name is configured."""

    code = "unknown-source"


class BodyTooLarge(WebhookError):
    """The body is larger than `server.max_body`."""

    code = "body-too-large"


class SignatureInvalid(WebhookError):
    """The signature is missing, malformed, stale or by no known secret."""

    code = "signature-invalid"


class MalformedBody(WebhookError):
    """The body is signed, but it is not JSON."""

    code = "malformed-body"


class RequestError(MakegoodError):
    """A request of a client or operator that cannot be served as it is."""

    code = "request"


class Unauthenticated(RequestError):
    """No API key, or an unknown one."""

    code = "unauthenticated"


class ScopeTooSmall(RequestError):
    """The API key's scope does not cover the call."""

    code = "scope-too-small"


class NotFound(RequestError):
    """There is no such thing."""

    code = "not-found"


class InvalidRequest(RequestError):
    """Parameters or body do not validate.

    Args:
        detail: what is wrong, in a sentence.
        errors: (JSON pointer or parameter name, what is wrong there), where a field is at fault.
    """

    code = "invalid-request"

    def __init__(self, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)


class NotAllowed(RequestError):
    """The operation's present status does not allow the action."""

    code = "not-allowed"


class RevisionMoved(RequestError):
    """The operation has changed since the revision that `If-Match` names."""

    code = "revision-moved"


class IdempotencyKeyReused(RequestError):
    """The `Idempotency-Key` was used before for another request."""

    code = "idempotency-key-reused"


class IdempotencyKeyInUse(RequestError):
    """The first request with this `Idempotency-Key` is still running."""

    code = "idempotency-key-in-use"


class AgentError(MakegoodError):
    """How a call out ended, where it did not end well.

    Args:
        detail: what the agent said, for the operator; no secret in it.
        status: the HTTP status it answered with, if there was one.
    """

    code = "agent"

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class Rejected(AgentError):
    """Finally refused: it did nothing, and will do nothing however often it is asked."""

    code = "rejected"


class Unavailable(AgentError):
    """Certainly not carried out: it may be tried again.

    Args:
        retry_after: how long the agent asks us to wait, if it did.
    """

    code = "unavailable"

    def __init__(self, detail: str, *, status: int | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(detail, status=status)
        self.retry_after = retry_after


class IllegalSignal(MakegoodError):
    """A signal that cannot be in this state: a mistake in Makegood, never in its input."""

    code = "illegal-signal"
