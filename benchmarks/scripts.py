"""The benchmarks that are scripts of their own: run as such, their JSON laid out as tables."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import Benchmark, Table

FOLDER = Path(__file__).parent
_TIMEOUT_S = 1800


def facemesh(_quick: bool) -> tuple[Table, ...]:
    """Run facemesh_speed.py."""
    numbers = _json_of("facemesh_speed.py")
    del numbers["resident_mb"]  # of a child, Linux says its parent's peak
    return (_pairs("Medians, one thread:", numbers),)


def predictor(_quick: bool) -> tuple[Table, ...]:
    """Run predictor_speed.py."""
    answer = _json_of("predictor_speed.py")
    rows = answer["speeds"]
    columns = tuple(rows[0])
    return (Table(caption=f"{answer['model']}:", columns=columns, rows=tuple(tuple(row.values()) for row in rows)),)


def openface(frames: Path) -> Benchmark:
    """Run openface_speed.py on a folder of frames."""

    def tables(quick: bool) -> tuple[Table, ...]:
        numbers = _json_of("openface_speed.py", str(frames), "--rounds", "1" if quick else "5")
        return (_pairs("Seconds for all frames, and ratios of them:", numbers),)

    return Benchmark(
        name="openface",
        title="OpenFace",
        meaning="""
The real OpenFace on 30 frames, on one core: a process per frame, as the sketch does it (`naive`); one process for all
(`cold`); a warm process fed through FIFOs (`warm`). On two cores: two at a time of the first and of the last, and the
service over HTTP with two replicas. `--openface-frames` names the folder of frames.
""",
        tables=tables,
    )


FACEMESH = Benchmark(
    name="facemesh",
    title="The face mesh alone",
    meaning="""
One process, one thread. `plain loop` is the four networks of a frame without anything around them; `chunk` is 15 frames
together, as a request of 30 is cut for two extractors, `alone` is one.
""",
    tables=facemesh,
)
PREDICTOR = Benchmark(
    name="predictor",
    title="The predictor",
    meaning="""
Rows a second of the default model, one thread; `bare` is the network's forward pass alone on a tensor that is on the
device already, `ratio` is the detector's rate over it: checks, novelty and calibration are the rest.
""",
    tables=predictor,
)


def _pairs(caption: str, numbers: dict[str, Any]) -> Table:
    return Table(caption=caption, columns=("what", "median"), rows=tuple(numbers.items()))


def _json_of(script: str, *arguments: str) -> dict[str, Any]:
    """Run it; its standard error stays on the terminal.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, str(FOLDER / script), *arguments, "--json"]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=_TIMEOUT_S)  # noqa: S603 - own argv
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer
