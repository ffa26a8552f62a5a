"""Cores for replicas."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from serve_app.extractors.openface.cores import CoreClaim, claim_core

FIRST = 10_000 + 2 * os.getpid()  # of no machine, and no other run of these tests
SECOND = FIRST + 1
CORES = {FIRST, SECOND}
CLAIM_AND_WAIT = f"""
import os, time
os.sched_getaffinity = lambda _: {CORES}
from serve_app.extractors.openface.cores import claim_core
claim = claim_core()
print(claim.core, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux only")


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], CoreClaim | None]]:
    """Claims a core of a machine that lets us run on two; all are given back in the end."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: CORES)
    claims: list[CoreClaim | None] = []

    def claimed() -> CoreClaim | None:
        claims.append(claim_core())
        return claims[-1]

    yield claimed
    for made in claims:
        if made is not None:
            made.release()


def core_of(claim: CoreClaim | None) -> int | None:
    return None if claim is None else claim.core


def test_each_replica_has_a_core_of_its_own(claim: Callable[[], CoreClaim | None]) -> None:
    """As long as there are free ones; then they share, and the log says so."""
    assert [core_of(claim()) for _ in range(3)] == [FIRST, SECOND, None]


def test_a_released_core_is_free_again(claim: Callable[[], CoreClaim | None]) -> None:
    """Also where it is released twice."""
    first = claim()
    assert first is not None
    first.release()
    first.release()
    assert core_of(claim()) == FIRST


def test_a_claim_of_a_dead_process_is_free(claim: Callable[[], CoreClaim | None]) -> None:
    """However it died; as long as it lives, the core is its own."""
    with subprocess.Popen([sys.executable, "-c", CLAIM_AND_WAIT], stdout=subprocess.PIPE) as other:  # noqa: S603
        assert other.stdout is not None
        assert int(other.stdout.readline()) == FIRST
        assert core_of(claim()) == SECOND
        other.send_signal(signal.SIGKILL)
    assert core_of(claim()) == FIRST


def test_where_cores_cannot_be_chosen_none_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS, say."""
    monkeypatch.delattr(os, "sched_setaffinity")
    assert claim_core() is None
