"""How long an unknown call may be sent again with its key."""

from app.saga.model import Action, Reason, Status, StepStatus
from app.saga.signals import LeaseExpired
from tests.saga.stage import (
    HOUR,
    NOON,
    SECOND,
    Play,
    done,
    saga_of,
    step,
    unavailable,
    unknown,
    unreached,
)


class TestKeyLifetime:
    """While it lasts an unknown call is sent again with its key; after it, never."""

    LONG = saga_of(step("purchase", attempts=99), deadline=90 * HOUR)
    LONG_WITH_LOOKUP = saga_of(step("purchase", attempts=99, lookup=True), deadline=90 * HOUR)

    def test_the_repetition_must_be_able_to_end_within_it(self) -> None:
        """Trap 4: an attempt on Monday, the operator's retry on Thursday with a key that the supplier has forgotten."""
        play = Play(self.LONG)
        play.run(unknown())
        play.now = NOON + 24 * HOUR - 10 * SECOND
        play.claim()
        assert play.begin() is not None, "it can just end in time"
        play = Play(self.LONG)
        play.run(unknown())
        play.now = NOON + 24 * HOUR - 9 * SECOND
        play.claim()
        assert play.begin() is None
        assert (play.operation.reason, play.state("purchase")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.UNKNOWN)

    def test_it_ends_in_the_lookup_where_there_is_one(self) -> None:
        play = Play(self.LONG_WITH_LOOKUP)
        play.run(unknown())
        play.wait(25 * HOUR)
        play.claim()
        assert play.begin() is None
        assert play.send().action is Action.LOOKUP

    def test_it_counts_from_the_first_sending_that_may_have_arrived(self) -> None:
        play = Play(self.LONG)
        play.run(unreached())
        play.wait(23 * HOUR)
        play.run(unknown())
        play.wait(2 * HOUR)
        play.run(done())
        assert play.operation.status is Status.SUCCEEDED

    def test_an_unreached_agent_later_does_not_begin_it_anew(self) -> None:
        play = Play(self.LONG)
        play.run(unknown(), unreached())
        play.wait(24 * HOUR)
        play.claim()
        assert play.begin() is None

    def test_a_crash_before_a_sending_does_not_begin_it_anew(self) -> None:
        play = Play(self.LONG)
        play.run(unknown())
        play.claim()
        play.tell(LeaseExpired())
        play.wait(24 * HOUR)
        play.claim()
        assert play.begin() is None

    def test_a_call_that_a_409_said_was_running_is_not_repeated_after_it(self) -> None:
        """Trap 4: the call that ran was carried out; by the next repetition its key is forgotten, and it is bought twice."""
        play = Play(self.LONG)
        play.run(unavailable(409))
        play.wait(24 * HOUR)
        play.claim()
        assert play.begin() is None
        assert play.state("purchase") is StepStatus.UNKNOWN

    def test_what_was_surely_not_carried_out_is_repeated_after_it(self) -> None:
        play = Play(self.LONG)
        play.run(unavailable())
        play.wait(48 * HOUR)
        play.run(done())
        assert play.operation.status is Status.SUCCEEDED
