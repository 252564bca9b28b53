"""A circuit breaker: after too many failures in a row nothing is sent to an agent for a while.

So an outage of an agent does not use up the attempts of every operation that needs it. (M. Nygard, Release It!, 2007.)
"""

from datetime import datetime, timedelta

# How long others wait while one probe is out: an answer is quick where the agent is well again.
PROBE_WAIT = timedelta(seconds=1)


class CircuitBreaker:
    """Closed, open, or half open with one probe. Pure: the time comes in.

    Args:
        failures: how many in a row open it.
        open_for: how long it stays open before a probe is let through.
    """

    def __init__(self, failures: int, open_for: timedelta) -> None:
        self._limit = failures
        self.open_for = open_for
        self._failures = 0
        self._open_until: datetime | None = None
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether nothing is in the way of a call, at whatever time."""
        return self._open_until is None

    def shut_until(self, now: datetime) -> datetime | None:
        """Until when nothing may be sent; None where a call may go out now."""
        if self._open_until is None:
            return None
        if now < self._open_until:
            return self._open_until
        return now + PROBE_WAIT if self._probing else None

    def admit(self) -> bool:
        """A call goes out, since `shut_until` said that it may. Returns whether it is the probe."""
        self._probing = self._open_until is not None
        return self._probing

    def probe_ended(self) -> None:
        """The probe is over, whether it brought an answer, a failure, or was never sent."""
        self._probing = False

    def answered(self) -> None:
        """The agent has given a clear answer; a refusal is one too."""
        self._failures = 0
        self._open_until = None

    def failed(self, now: datetime) -> None:
        """A call ended as unavailable or unknown.

        While it is open this is a call that went out before it opened, and says nothing new.
        """
        if self._open_until is not None:
            if now >= self._open_until:
                self._open_until = now + self.open_for
            return
        self._failures += 1
        if self._failures >= self._limit:
            self._failures = 0
            self._open_until = now + self.open_for
