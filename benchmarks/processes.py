"""What a tree of processes costs, by what each of them is for: CPU time and memory, from Linux's /proc."""

import os
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PROC = Path("/proc")
Answer = TypeVar("Answer")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_AFTER_NAME = 2  # /proc/PID/stat is "pid (name) state ppid ...": the name may hold spaces, the rest is split after it
_PPID, _UTIME, _STIME, _CUTIME, _CSTIME = (field - _AFTER_NAME - 1 for field in (4, 14, 15, 16, 17))
_ROLES = (
    (re.compile(r"^ray::ServeReplica:\w+:(\w+)"), r"\1"),
    (re.compile(r"^ray::ServeController"), "controller"),
    (re.compile(r"^ray::ProxyActor|^ray::HAProxy|haproxy"), "proxy"),
    (re.compile(r"/raylet "), "raylet"),
    (re.compile(r"deployments\.run"), "launcher"),
)


@dataclass(frozen=True)
class Cost:
    """What a tree of processes had used at one moment: CPU seconds by process id, and each one's role."""

    taken_s: float
    cpu_s: Mapping[int, float]
    roles: Mapping[int, str]


def role_of(command: str) -> str:
    """Name what a process is for, by its command line: a deployment, or a part of Ray."""
    for pattern, role in _ROLES:
        if match := pattern.search(command):
            return match.expand(role)
    return "others"


def cost(root: int) -> Cost:
    """Ask what a process and all its descendants have used until now."""
    pids = tree(root)
    return Cost(
        time.perf_counter(),
        {pid: cpu_s for pid in pids if (cpu_s := _or_none(cpu_seconds, pid)) is not None},
        {pid: role_of(_or_none(command_line, pid) or "") for pid in pids},
    )


def cpu_by_role(before: Cost, after: Cost) -> Counter[str]:
    """CPU seconds between two moments, summed by role; a process that is new since counts whole."""
    used: Counter[str] = Counter()
    for pid, cpu_s in after.cpu_s.items():
        used[after.roles[pid]] += max(cpu_s - before.cpu_s.get(pid, 0.0), 0.0)  # type: ignore[assignment]  # seconds
    return used


def pss_by_role(root: int) -> Mapping[str, list[float]]:
    """Proportional set sizes, MB, of a process and its descendants by role; shared pages count in shares."""
    sizes = defaultdict(list)
    for pid in tree(root):
        pss_mb = _or_none(_pss_mb, pid)
        if pss_mb is not None:
            sizes[role_of(_or_none(command_line, pid) or "")].append(pss_mb)
    return sizes


def tree(root: int) -> list[int]:
    """A process and all its descendants that live."""
    children = defaultdict(list)
    for pid, parent in _parents():
        children[parent].append(pid)
    found = [root]
    for pid in found:  # grows while it is gone through
        found.extend(children[pid])
    return found


def child_running(pattern: str) -> int:
    """The child of this process whose command line holds ``pattern``.

    Raises:
        LookupError: there is none, or more than one.
    """
    own = [pid for pid, parent in _parents() if parent == os.getpid()]
    matching = [pid for pid in own if pattern in (_or_none(command_line, pid) or "")]
    if len(matching) != 1:
        raise LookupError(f"{len(matching)} children of process {os.getpid()} run {pattern!r}, one was expected")
    return matching[0]


def end_of_ray(pids: Iterable[int]) -> None:
    """End those of these processes that live still and are Ray's."""
    for pid in pids:
        if "ray::" in (_or_none(command_line, pid) or ""):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # they take minutes to heed another


def command_line(pid: int) -> str:
    """A process's arguments, spaces between them."""
    return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, with that of the children that it has waited for."""
    stat = _stat(pid)
    return sum(int(stat[field]) for field in (_UTIME, _STIME, _CUTIME, _CSTIME)) / _TICKS_PER_S


def _parents() -> Iterator[tuple[int, int]]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended
                yield int(folder.name), int(_stat(int(folder.name))[_PPID])


def _stat(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _pss_mb(pid: int) -> float:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _or_none(ask: Callable[[int], Answer], pid: int) -> Answer | None:
    """What is asked of a process, or None if it has ended."""
    try:
        return ask(pid)
    except OSError:
        return None
