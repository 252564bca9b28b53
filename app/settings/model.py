"""What the configuration says, as frozen values. Every default of `makegood.toml` stands here, and only here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from app.saga.definition import Limits, Saga, refund_limits


class Scope(StrEnum):
    """What an API key may do. `operate` includes `read`."""

    READ = "read"
    OPERATE = "operate"


class AmountUnit(StrEnum):
    """How a sender writes an amount: an integer of minor units, or a decimal string of major ones."""

    MINOR = "minor"
    MAJOR = "major"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the service listens. `max_body` is the size in bytes of the largest webhook body that is taken."""

    host: str = "127.0.0.1"
    port: int = 8080
    max_body: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Database:
    """Which PostgreSQL. `url` None means the embedded one, which keeps its data in `data_dir`."""

    url: str | None = field(default=None, repr=False)
    data_dir: Path = Path(".makegood")
    pool_size: int = 10


@dataclass(frozen=True, slots=True)
class Worker:
    """How one process works.

    Args:
        concurrency: operations in flight at once.
        lease: how long a claim holds without a heartbeat.
        poll_interval: how often it looks for work when no wake-up arrives.
    """

    concurrency: int = 64
    lease: timedelta = timedelta(seconds=30)
    poll_interval: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept in full. `finished` None: finished operations are kept for ever."""

    finished: timedelta | None = None
    events: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One client of the API: what it may do, and the SHA-256 of its key in lower-case hex."""

    name: str
    scope: Scope
    sha256: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a payment's facts stand in a webhook's body: JMESPath expressions, and the event types that mean paid."""

    event_type: str
    payment_events: frozenset[str]
    payment_id: str
    order_id: str
    amount: str
    amount_unit: AmountUnit
    currency: str
    occurred_at: str


class Mode(StrEnum):
    """Whether a provider's event tells of real money."""

    LIVE = "live"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Options:
    """What a provider is told beside what all are told: it derives its own, whose fields are the keys of the source.

    A field is a string, an array of strings (`tuple[str, ...]`) or a word (a StrEnum); without a default it is required.
    """

    def faults(self) -> Iterable[tuple[str, str]]:
        """(key, sentence) for each thing that is wrong with the values, which are all of the right type.

        The key of one of several is `key[0]`.
        """
        return ()

    @property
    def suffices(self) -> bool:
        """Whether a signature can be checked with these alone, without a secret."""
        return False


@dataclass(frozen=True, slots=True)
class Reconcile:
    """How often a provider is asked for its payments, and how far back."""

    every: timedelta
    since: timedelta


@dataclass(frozen=True, slots=True)
class Source:
    """One sender of webhooks.

    Args:
        name: the last part of its path, `/webhooks/{name}`.
        secrets: any of them may have signed.
        tolerance: how old or how early a signed timestamp may be.
        identity: what the ids of its operations are made from, whatever the source is called today.
        mode: events of the other mode are ignored.
        options: the provider's own.
        api: the agent at which the provider's payments can be read.
        reconcile: when they are read on a schedule.
    """

    name: str
    provider: str
    secrets: tuple[str, ...] = field(repr=False)
    saga: str
    tolerance: timedelta
    identity: str
    fields: Fields
    mode: Mode = Mode.LIVE
    options: Options = Options()
    api: str | None = None
    reconcile: Reconcile | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """After so many calls in a row that were unavailable or unknown, nothing is sent for as long as it is open."""

    failures: int = 10
    open: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class OAuth:
    """Where an agent's access tokens come from, by the client's own credentials (RFC 6749, 4.4).

    Args:
        token_path: behind the agent's base URL.
    """

    token_path: str
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Agent:
    """A service that is called.

    `base_url` and `headers` may hold credentials, so neither is shown.

    Args:
        timeout: how long one attempt may take, all of it.
        max_concurrency: calls in flight to it from one process.
        key_lifetime: how long it remembers an idempotency key. None, where nothing is said: as long as the provider does
            whose refund protocol it speaks, and 24 h for other calls.
        in_flight: how long after it was sent a call may still take effect there.
    """

    name: str
    base_url: str = field(repr=False)
    timeout: timedelta = timedelta(seconds=10)
    max_concurrency: int = 64
    key_lifetime: timedelta | None = None
    in_flight: timedelta = timedelta(minutes=1)
    breaker: Breaker = Breaker()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    oauth: OAuth | None = None

    @property
    def limits(self) -> Limits:
        """What it promises about time, as the saga machine wants it."""
        return self.limits_with(_UNSAID.key_lifetime)

    def limits_with(self, key_lifetime: timedelta) -> Limits:
        """The same, where it remembers its keys for `key_lifetime` unless it says itself for how long."""
        said = self.key_lifetime
        return Limits(self.timeout, key_lifetime if said is None else said, self.in_flight)


_UNSAID = Limits()


def limits_of(agents: Mapping[str, Agent], key_lifetimes: Mapping[str, timedelta]) -> dict[str, Limits]:
    """What each agent promises about time, by its name; and by both names what it does where it speaks for a provider.

    Args:
        key_lifetimes: how long each provider that has a refund protocol remembers a key.
    """
    limits = {name: agent.limits for name, agent in agents.items()}
    for name, agent in agents.items():
        if agent.key_lifetime is None:
            for provider, lifetime in key_lifetimes.items():
                limits[refund_limits(name, provider)] = agent.limits_with(lifetime)
    return limits


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. Its sagas are bound: each knows the limits of the agents.

    Args:
        key_lifetimes: how long each provider that has a refund protocol remembers a key.
    """

    server: Server
    database: Database
    worker: Worker
    retention: Retention
    api_keys: tuple[ApiKey, ...]
    sources: Mapping[str, Source]
    agents: Mapping[str, Agent]
    sagas: Mapping[str, Saga]
    key_lifetimes: Mapping[str, timedelta] = field(default_factory=dict)

    def limits(self) -> Mapping[str, Limits]:
        """What each agent promises about time, by its name, and by its and a provider's where it differs there."""
        return limits_of(self.agents, self.key_lifetimes)
