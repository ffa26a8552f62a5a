"""Keeping one process at work and the next one ready, with processes that are none."""

import traceback
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from serve_app.errors import FrameTimeout, OpenFaceUnusable
from serve_app.extractors.openface import supervisor as module
from serve_app.extractors.openface.patience import Patience
from serve_app.extractors.openface.supervisor import Process, Supervisor
from tests.unit.extractors.openface.conftest import wait_until

Supervise = Callable[..., Supervisor]


class Stub:
    """A process that takes so many frames, and lives until it is told otherwise."""

    def __init__(self, frames_left: int = 10) -> None:
        self.frames_left = frames_left
        self.alive = True
        self.closed = False
        self.refreshed = Event()

    def is_usable(self) -> bool:
        return self.alive and self.frames_left > 0

    def is_alive(self) -> bool:
        return self.alive

    def extract(self, image: bytes, patience: Patience) -> bytes:
        self.frames_left -= 1
        return image

    def refresh(self, *, idle_s: float, timeout_s: float) -> None:
        self.refreshed.set()

    def close(self) -> None:
        self.alive, self.closed = False, True


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervise]:
    """Supervises the given processes, started in that order; an error stands for a start that fails."""
    monkeypatch.setattr(module, "_MAX_BACKOFF_S", 0.0)
    monkeypatch.setattr(module, "_REFRESH_POLL_S", 0.01)
    supervisors: list[Supervisor] = []

    def supervised(*starts: Stub | Exception) -> Supervisor:
        remaining = list(starts)

        def start(_: Event) -> Process:
            started = remaining.pop(0)
            if isinstance(started, Exception):
                raise started
            return started

        supervisors.append(Supervisor(start, lead_frames=3))
        return supervisors[-1]

    yield supervised
    for supervisor in supervisors:
        supervisor.close()


def test_the_next_process_is_started_before_the_last_frames(supervise: Supervise) -> None:
    """And takes over when the first is used up."""
    first, second = Stub(4), Stub()
    supervisor = supervise(first, second)
    assert supervisor.take(Patience(5)) is first
    assert supervisor._next is None
    first.frames_left = 3
    assert supervisor.take(Patience(5)) is first
    assert supervisor._next is not None
    first.frames_left = 0
    assert supervisor.take(Patience(5)) is second
    assert first.closed


def test_a_process_that_died_while_it_stood_by_is_not_given_out(supervise: Supervise) -> None:
    """The one after it is."""
    first, dead, third = Stub(1), Stub(), Stub()
    supervisor = supervise(first, dead, third)
    supervisor.take(Patience(5))
    assert supervisor._next is not None
    supervisor._next.result(5)
    dead.alive = False
    first.frames_left = 0
    assert supervisor.take(Patience(5)) is third


def test_a_frame_waits_for_the_start_after_a_failed_one(supervise: Supervise) -> None:
    """Failing it at once, a replica would be idle soonest, and be sent the frames that others could do."""
    second = Stub()
    supervisor = supervise(OpenFaceUnusable("no model"), second)
    assert supervisor.take(Patience(5)) is second
    supervisor.check()


def test_a_frame_is_not_made_to_wait_for_ever(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start is further away than its deadline."""
    monkeypatch.setattr(module, "_MAX_BACKOFF_S", 30)
    with pytest.raises(FrameTimeout):
        supervise(OpenFaceUnusable("no model"), Stub()).take(Patience(0.1))


def test_frames_fail_with_the_start_that_is_one_too_many(supervise: Supervise) -> None:
    """The third, and every one after it; at the start of a replica, the first."""
    supervisor = supervise(*[OpenFaceUnusable(f"start {number}") for number in range(1, 6)])
    for tries, last in ((1, 1), (3, 3), (3, 4)):
        with pytest.raises(OpenFaceUnusable, match=f"start {last}"):
            supervisor.take(Patience(5), tries=tries)


def test_a_start_that_ends_in_a_bug_counts_as_failed(supervise: Supervise, caplog: pytest.LogCaptureFixture) -> None:
    """It is not tried again without a pause, and the log says where it is."""
    with pytest.raises(OpenFaceUnusable, match="a bug"):
        supervise(RuntimeError("a bug")).take(Patience(5), tries=1)
    assert "Traceback" in caplog.text


def test_a_failed_start_keeps_no_frame_that_met_it(supervise: Supervise) -> None:
    """What is raised holds the frames of its traceback, and with them each image."""
    failure = OpenFaceUnusable("no model")
    supervisor = supervise(failure, failure)
    for _ in range(2):
        with pytest.raises(OpenFaceUnusable, match="no model"):
            supervisor.take(Patience(5), tries=1)
    assert "_await" not in [entry.f_code.co_name for entry, _ in traceback.walk_tb(failure.__traceback__)]


def test_a_dead_process_is_replaced_by_the_health_check(supervise: Supervise) -> None:
    """Nobody need wait for a frame to find out."""
    first, second = Stub(), Stub()
    supervisor = supervise(first, second)
    supervisor.take(Patience(5))
    first.alive = False
    supervisor.check()
    assert supervisor._next is not None
    assert supervisor._next.result(5) is second


def test_an_idle_process_is_replaced_before_it_is_used_up(supervise: Supervise) -> None:
    """Each ten seconds of idling take a frame of it, and no frame comes to have the next one loaded."""
    first, second = Stub(4), Stub()
    supervisor = supervise(first, second)
    supervisor.take(Patience(5))
    first.frames_left = 3
    supervisor.check()
    assert supervisor._next is not None
    assert supervisor._next.result(5) is second


@pytest.mark.parametrize("end", [{"alive": False}, {"frames_left": 0}])
def test_a_process_that_stood_by_until_its_end_is_replaced(supervise: Supervise, end: dict[str, int]) -> None:
    """By the health check: after hours without a frame there is still one to take the next."""
    first, second, third = Stub(1), Stub(), Stub()
    supervisor = supervise(first, second, third)
    supervisor.take(Patience(5))
    wait_until(lambda: supervisor._standby() is second)
    first.alive = False
    vars(second).update(end)
    supervisor.check()
    wait_until(lambda: supervisor._standby() is third)
    assert second.closed


def test_three_failed_starts_are_unhealthy(supervise: Supervise) -> None:
    """Health checks alone go on trying."""
    supervisor = supervise(Stub(), *[OpenFaceUnusable("no model")] * 5)
    process = supervisor.take(Patience(5))
    process.close()
    for _ in range(3):
        assert supervisor._prepare().exception(5)
    with pytest.raises(OpenFaceUnusable, match="failed to start 3 times: no model"):
        supervisor.check()


def test_waiting_for_a_process_ends(supervise: Supervise) -> None:
    """A start may last longer than a frame is waited for."""
    loading = Event()

    def start(closing: Event) -> Process:
        loading.set()
        closing.wait(5)
        return Stub()

    supervisor = Supervisor(start, lead_frames=1)
    with pytest.raises(FrameTimeout):
        supervisor.take(Patience(0.01))
    assert loading.is_set()
    supervisor.close()


def test_idle_processes_are_kept_fresh(supervise: Supervise) -> None:
    """The one at work, and the one that stands by."""
    first, second = Stub(1), Stub()
    supervise(first, second).take(Patience(5))
    assert first.refreshed.wait(5)
    assert second.refreshed.wait(5)
