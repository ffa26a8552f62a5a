"""The one door to the benchmarks: which it knows, and which numbers it keeps."""

import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, ON_DEMAND, keep
from benchmarks.report import Benchmark, Table

DOOR = str(Path(__file__).parents[3] / "benchmarks" / "__main__.py")


def benchmark(name: str, *, rows: int = 1) -> Benchmark:
    return Benchmark(
        name=name,
        title=name.title(),
        meaning="Nothing.",
        tables=lambda _quick: (Table(caption="Rows:", columns=("row",), rows=tuple((row,) for row in range(rows))),),
    )


def test_a_benchmark_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that there are, before anything runs."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "predictor", "speeed"])
    with pytest.raises(SystemExit, match="no benchmark is named 'speeed'; there are autoscaling, calls, designs"):
        runpy.run_path(DOOR, run_name="__main__")


def test_openface_is_not_left_out_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames for it, and no binary."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--openface-frames", str(tmp_path)])
    monkeypatch.delenv("OPENFACE_BINARY", raising=False)
    with pytest.raises(SystemExit, match="needs OPENFACE_BINARY"):
        runpy.run_path(DOOR, run_name="__main__")


def test_names_are_unique() -> None:
    """They are keys of the file."""
    names = [entry.name for entry in (*BENCHMARKS, *ON_DEMAND)]
    assert len(set(names)) == len(names)


def test_a_section_takes_the_place_of_its_older_self() -> None:
    """The others keep their numbers."""
    known = [benchmark("speed"), benchmark("size")]
    earlier = [entry.run(quick=False) for entry in known]
    newer = benchmark("size", rows=3).run(quick=False)
    assert keep(known, earlier, newer) == [earlier[0], newer]


@pytest.mark.parametrize("first", ["speed", "size"])
def test_sections_stand_in_the_benchmarks_order(first: str) -> None:
    """Whichever ran first."""
    known = [benchmark("speed"), benchmark("size")]
    second = "size" if first == "speed" else "speed"
    sections = keep(known, [benchmark(first).run(quick=False)], benchmark(second).run(quick=False))
    assert [section.name for section in sections] == ["speed", "size"]
