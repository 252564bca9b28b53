"""The sagas as they were when their operations began: stored once by their hash, kept in memory afterwards."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import Text, cast, select, text
from sqlmodel import col

from app.db.engine import AsyncEngine, translated
from app.db.tables import SagaRow
from app.errors import NotFound
from app.saga.definition import Limits, Saga, from_json, hash_of, to_json

# The definition goes in and out as its text: the hash is of these very bytes.
ADD = text(
    "INSERT INTO sagas (hash, name, definition) VALUES (:hash, :name, CAST(:definition AS json)) ON CONFLICT DO NOTHING"
)


class Sagas:
    """Every saga that this process has met. They never change, so each is read or stored once.

    Args:
        limits: what the agents of the configuration promise about time, by their names.
        configured: sagas that are known from the start; a worker meets them whether it has stored them or not.
    """

    def __init__(self, engine: AsyncEngine, limits: Mapping[str, Limits], configured: Iterable[Saga] = ()) -> None:
        self._engine = engine
        self._limits = limits
        self._by_hash: dict[str, Saga] = {}
        self._stored: dict[Saga, str] = {}
        for saga in configured:
            self._bound(hash_of(saga), saga)

    def known(self, saga_hash: str) -> Saga | None:
        """The saga of that hash, with today's limits, where this process has met it."""
        return self._by_hash.get(saga_hash)

    async def get(self, saga_hash: str) -> Saga:
        """The saga of that hash, with today's limits.

        Raises:
            NotFound: there is none.
            DatabaseUnavailable: it had to be read, and could not be.
        """
        known = self._by_hash.get(saga_hash)
        if known is not None:
            return known
        definition = select(cast(col(SagaRow.definition), Text)).where(col(SagaRow.hash) == saga_hash)
        with translated():
            async with self._engine.connect() as connection:
                value = await connection.scalar(definition)
        if value is None:
            raise NotFound(f"no saga is stored under {saga_hash}")
        return self._bound(saga_hash, from_json(value))

    async def store(self, saga: Saga) -> str:
        """The hash of a saga, which is on disk when this returns.

        Raises:
            DatabaseUnavailable: it had to be written, and perhaps it was not.
        """
        known = self._stored.get(saga)
        if known is not None:
            return known
        saga_hash = hash_of(saga)
        row = {"hash": saga_hash, "name": saga.name, "definition": to_json(saga)}
        with translated():
            async with self._engine.begin() as connection:
                await connection.execute(ADD, row)
        self._stored[saga] = saga_hash
        self._bound(saga_hash, saga)
        return saga_hash

    def _bound(self, saga_hash: str, saga: Saga) -> Saga:
        bound = replace(saga, limits=self._limits)
        self._by_hash[saga_hash] = bound
        return bound
