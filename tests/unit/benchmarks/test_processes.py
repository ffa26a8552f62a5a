"""What processes cost, asked of real ones."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.processes import Cost, child_running, cost, cpu_by_role, pss_by_role, role_of, tree

BUSY_S = 0.3
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()']); print('marker-of-this-test')"


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with a child that waits for a line."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603
    deadline = time.monotonic() + 30
    while len(tree(process.pid)) < 2 and time.monotonic() < deadline:
        pass
    yield process
    process.communicate(b"\n", timeout=30)


def spend(cpu_s: float) -> None:
    """Use CPU time in this process."""
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("ray::ServeReplica:deepfake:Extractor.extract", "Extractor"),
        ("ray::ServeReplica:deepfake:CsvParser", "CsvParser"),
        ("ray::ServeController.listen_for_change", "controller"),
        ("ray::ProxyActor", "proxy"),
        ("/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "raylet"),
        ("python -m deployments.run config.yaml", "launcher"),
        ("ray::IDLE", "others"),
        ("/site-packages/ray/core/src/ray/gcs/gcs_server --log_dir=x", "others"),
    ],
)
def test_a_process_has_the_role_of_its_command_line(command: str, role: str) -> None:
    """Deployments by their names, Ray's own parts by what they are."""
    assert role_of(command) == role


def test_cpu_time_of_a_process_is_what_it_spent() -> None:
    """What is spent between two moments, and not what was spent before."""
    own = os.getpid()
    before, spent_before_s = cost(own), time.process_time()
    spend(BUSY_S)
    used_s, spent_s = cost(own).cpu_s[own] - before.cpu_s[own], time.process_time() - spent_before_s
    assert spent_s >= BUSY_S / 2
    assert used_s == pytest.approx(spent_s, abs=0.1)  # clock ticks, of the process's other threads too


def test_cpu_time_is_summed_by_role() -> None:
    """Two extractors are one role; a process that is new counts from its start."""
    before = Cost(0.0, {1: 1.0, 2: 5.0}, {1: "Extractor", 2: "proxy"})
    after = Cost(1.0, {1: 1.5, 2: 5.25, 3: 0.5}, {1: "Extractor", 2: "proxy", 3: "Extractor"})
    assert cpu_by_role(before, after) == {"Extractor": 1.0, "proxy": 0.25}


def test_a_tree_holds_the_children(parent: "subprocess.Popen[bytes]") -> None:
    """The process itself comes first."""
    assert (tree(parent.pid)[0], len(tree(parent.pid))) == (parent.pid, 2)


def test_memory_is_that_of_the_whole_tree(parent: "subprocess.Popen[bytes]") -> None:
    """A size for each process, and each a few MB at least."""
    [sizes] = pss_by_role(parent.pid).values()
    assert len(sizes) == 2
    assert min(sizes) > 1


def test_a_child_is_found_by_its_command_line(parent: "subprocess.Popen[bytes]") -> None:
    """Which is how the launcher's process is found."""
    assert child_running("marker-of-this-test") == parent.pid


def test_a_child_that_does_not_run_is_named() -> None:
    """Rather than measuring nothing."""
    with pytest.raises(LookupError, match="no-such-program"):
        child_running("no-such-program")
