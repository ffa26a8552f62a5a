"""Closed-loop clients: how many requests they send, and what their answers sum up to."""

import threading

import pytest

from benchmarks.load import Outcome, Reply, drive, percentile_ms


def test_percentiles_lie_between_neighbours() -> None:
    """Of 0.1, 0.2, 0.3 and 0.4 s the median is 250 ms, and 99 % is near the last."""
    replies = [Reply(1, elapsed_s) for elapsed_s in (0.4, 0.1, 0.3, 0.2)]
    assert percentile_ms(replies, 50) == pytest.approx(250)
    assert percentile_ms(replies, 99) == pytest.approx(397)


def test_frames_a_second_count_scored_frames_only() -> None:
    """Two requests of 30 and of 15 scored frames in 1.5 s."""
    assert Outcome(1.5, (Reply(30, 1.0), Reply(15, 1.5, 2))).frames_per_s == pytest.approx(30)


def test_the_steady_rate_leaves_out_start_and_end() -> None:
    """Two clients in turn, two seconds a request but for a slow first one; what spans an edge counts in part."""
    elapsed_s = {5.0: 5.0, 6.0: 6.0, 7.0: 2.0, 8.0: 2.0, 9.0: 2.0, 10.0: 2.0, 11.0: 2.0, 12.0: 2.0}
    outcome = Outcome(12.0, tuple(Reply(30, elapsed, came_s=moment) for moment, elapsed in elapsed_s.items()))
    assert outcome.steady_frames_per_s(2) == pytest.approx(30)


def test_a_run_without_a_steady_part_is_refused() -> None:
    """Three requests of two clients: there is no moment at which both were in the middle of their work."""
    outcome = Outcome(3.0, tuple(Reply(30, 1.0, came_s=moment) for moment in (1.0, 2.0, 3.0)))
    with pytest.raises(ValueError, match="send more"):
        outcome.steady_frames_per_s(2)


def test_refusals_are_counted() -> None:
    """A request that was refused twice before it was taken counts two."""
    assert Outcome(1.5, (Reply(30, 1.0), Reply(15, 1.5, 2))).refusals == 2


def test_each_request_is_sent_once() -> None:
    """Whatever the number of clients."""
    outcome = drive(lambda: Reply(3, 0.001), n_clients=4, n_requests=10)
    assert (len(outcome.replies), outcome.scored_frames) == (10, 30)


def test_as_many_requests_as_clients_are_under_way() -> None:
    """Four clients meet at a barrier; with fewer it would time out."""
    meeting = threading.Barrier(4)

    def send() -> Reply:
        meeting.wait(timeout=10)
        return Reply(1, 0.0)

    assert len(drive(send, n_clients=4, n_requests=8).replies) == 8


def test_a_failure_is_raised() -> None:
    """A benchmark whose requests fail has no result."""

    def send() -> Reply:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        drive(send, n_clients=2, n_requests=2)
