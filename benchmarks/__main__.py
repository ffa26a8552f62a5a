"""The one door to the benchmarks: run them in turn, write their numbers, make the page of them.

python -m benchmarks [--only NAME ...] [--quick] [--output build/bench.json] [--openface-frames DIR]
python -m benchmarks --render build/bench.json
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import autoscaling, calls, comparison, growth, routing, scaling, scripts, startup, throughput
from benchmarks.report import Benchmark, Report, Section, section_markdown, this_machine, to_markdown
from serve_app.settings import OpenFaceSettings

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BENCHMARKS = (
    scripts.FACEMESH,
    throughput.BENCHMARK,
    comparison.BENCHMARK,
    calls.BENCHMARK,
    scaling.BENCHMARK,
    routing.BENCHMARK,
    growth.BENCHMARK,
    scripts.PREDICTOR,
    autoscaling.BENCHMARK,
    startup.BENCHMARK,
)
ON_DEMAND = (scaling.WIDE,)


def main() -> None:
    """Run, or render."""
    arguments = _arguments()
    if arguments.render:
        report = Report.model_validate_json(arguments.render.read_text())
        PAGE.write_text(to_markdown(report, arguments.render))
        return
    known = [*BENCHMARKS, *ON_DEMAND, *_with_openface(arguments.openface_frames)]
    chosen = _chosen(known, arguments.only)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    kept = _earlier(arguments.output) if arguments.only else []
    for section in _run(chosen, quick=arguments.quick):  # written after each: the next may fail an hour later
        print(section_markdown(section), flush=True)
        kept = keep(known, kept, section)
        report = Report(machine=this_machine(), sections=tuple(kept))
        arguments.output.write_text(report.model_dump_json(indent=2) + "\n")


def keep(known: Sequence[Benchmark], earlier: Sequence[Section], newer: Section) -> list[Section]:
    """Put a section in the place of its older self, all of them in the benchmarks' order."""
    sections = {section.name: section for section in (*earlier, newer)}
    order = [benchmark.name for benchmark in known if benchmark.name in sections]
    return [sections[name] for name in dict.fromkeys([*order, *sections])]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(benchmark.name for benchmark in (*BENCHMARKS, *ON_DEMAND))
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"run these, keep the others' numbers: {names}")
    parser.add_argument("--quick", action="store_true", help="about a minute each: only to see that they work")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="default: %(default)s")
    parser.add_argument("--openface-frames", type=Path, help="a folder of frames, to time OPENFACE_BINARY on too")
    parser.add_argument(
        "--render", type=Path, metavar="JSON", help=f"write {PAGE.name} from these numbers, run nothing"
    )
    return parser.parse_args()


def _with_openface(frames: Path | None) -> list[Benchmark]:
    if frames is None:
        return []
    if OpenFaceSettings().binary is None:
        sys.exit("--openface-frames needs OPENFACE_BINARY: set it to the path of your FeatureExtraction")
    return [scripts.openface(frames)]


def _chosen(known: Sequence[Benchmark], only: Sequence[str] | None) -> list[Benchmark]:
    if not only:
        return [benchmark for benchmark in known if benchmark not in ON_DEMAND]
    names = {benchmark.name for benchmark in known}
    unknown = [name for name in only if name not in names]
    if unknown:
        sys.exit(f"no benchmark is named {unknown[0]!r}; there are {', '.join(sorted(names))}")
    return [benchmark for benchmark in known if benchmark.name in only]


def _earlier(output: Path) -> list[Section]:
    return list(Report.model_validate_json(output.read_text()).sections) if output.is_file() else []


def _run(chosen: Sequence[Benchmark], *, quick: bool) -> Iterator[Section]:
    for benchmark in chosen:
        began = time.perf_counter()
        print(f"{benchmark.name} ...", file=sys.stderr, flush=True)
        yield benchmark.run(quick=quick)
        print(f"{benchmark.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
