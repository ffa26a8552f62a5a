"""Queues: who takes the next call, by the calls that this process has under way."""

import pytest

from serve_app.queues import Queues
from tests.unit.conftest import Clock

pytestmark = pytest.mark.usefixtures("clock")

MAX_ONGOING = 3


class Calls:
    """Calls to workers with names of one letter."""

    def __init__(self, names: str) -> None:
        self.queues = Queues[str]()
        self._limits = dict.fromkeys(names, MAX_ONGOING)

    def choose(self, n_calls: int) -> str:
        """Who is chosen for calls at the same time; a dot for one that has to wait."""
        return "".join(self.queues.choose(self._limits) or "." for _ in range(n_calls))

    def send(self, n_calls: int) -> str:
        """Choose, and send what need not wait."""
        chosen = self.choose(n_calls)
        for name in chosen.replace(".", ""):
            self.queues.sent(name)
        return chosen

    def end(self, names: str) -> None:
        """End a call to each."""
        for name in names:
            self.queues.ended(name)


def test_idle_ones_take_calls_in_turn() -> None:
    """None takes two while another has none."""
    chosen = Calls("abcd").send(8)
    assert sorted(chosen[:4]) == sorted(chosen[4:]) == list("abcd")


def test_the_turn_goes_on_from_one_request_to_the_next() -> None:
    """Calls that end at once are not all sent to the same worker."""
    calls = Calls("abc")
    chosen = ""
    for _ in range(3):
        chosen += calls.send(1)
        calls.end(chosen[-1])
    assert sorted(chosen) == list("abc")


def test_a_call_joins_the_shortest_queue() -> None:
    """Also when several choose before one is sent."""
    calls = Calls("abc")
    calls.send(3 * MAX_ONGOING)
    calls.end("aac")
    assert sorted(calls.send(3)) == ["a", "a", "c"]


def test_a_call_that_ended_makes_room() -> None:
    """Without anyone being asked."""
    calls = Calls("ab")
    calls.send(2 * MAX_ONGOING)
    calls.end("b")
    assert calls.send(2) == "b."


def test_one_in_doubt_takes_no_calls_for_a_while(clock: Clock) -> None:
    """Its queue is the shortest, for its calls fail at once; they would all go there."""
    calls = Calls("ab")
    lost = calls.send(1)
    calls.end(lost)
    calls.queues.doubt(lost)
    assert lost not in calls.send(MAX_ONGOING)
    assert calls.send(1) == "."
    clock.now_s += 1
    assert calls.send(2) == f"{lost}."  # one call finds out for all


def test_one_that_took_a_call_is_doubted_no_more() -> None:
    """It has room again."""
    calls = Calls("a")
    calls.queues.doubt("a")
    assert calls.send(1) == "."
    calls.queues.trust("a")
    assert calls.send(2) == "aa"


def test_doubts_end_with_the_worker() -> None:
    """Workers come and go for months."""
    calls = Calls("ab")
    calls.queues.doubt("a")
    calls.queues.doubt("b")
    calls.queues.keep({"b"})
    assert not calls.queues.is_in_doubt("a")
    assert calls.queues.is_in_doubt("b")


def test_a_choice_that_was_never_sent_is_forgotten(clock: Clock) -> None:
    """Else one whose callers left would seem full for good."""
    calls = Calls("a")
    assert calls.choose(MAX_ONGOING) == "aaa"
    assert calls.send(1) == "."
    clock.now_s += 2
    assert calls.send(MAX_ONGOING) == "aaa"


def test_without_workers_nobody_is_chosen() -> None:
    """The caller waits for some."""
    assert Calls("").send(1) == "."
