"""What a benchmark's numbers look like on the page, and that they survive the file."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.report import Benchmark, Machine, Report, Table, table, to_markdown

MACHINE = Machine(cpu="Abacus 3", cores=2, memory_gib=23.5, system="Linux 6", versions=("Python 3.11", "ray 2.60"))


@dataclass(frozen=True)
class Row:
    """One row of a made-up benchmark."""

    design: str
    clients: int
    frames_per_s: float
    http_over_bare: float | None
    p50_ms: float


ROWS = [Row("ours", 8, 12345.6, 0.8512, 3.14159), Row("theirs", 1, 7.0, None, 0.001234)]


def benchmark(rows: list[Row]) -> Benchmark:
    return Benchmark(
        name="speed", title="Speed", meaning="\nHow fast.\n", tables=lambda _quick: (table("By design:", rows),)
    )


def page(*, quick: bool = False) -> str:
    sections = (benchmark(ROWS).run(quick=quick),)
    return to_markdown(Report(machine=MACHINE, sections=sections), Path("build/bench.json"))


def test_a_column_names_its_unit() -> None:
    """frames_per_s reads frames/s, p50_ms reads p50, ms, a_over_b is a ratio."""
    assert "| design | clients | frames/s | http / bare | p50, ms |" in page()


def test_text_is_left_aligned_and_numbers_are_right_aligned() -> None:
    """Only the column that holds text is aligned to the left."""
    assert "| --- | ---: | ---: | ---: | ---: |" in page()


def test_numbers_have_three_digits_and_thousands_their_comma() -> None:
    """Neither digits that were not measured nor an exponent."""
    assert "| ours | 8 | 12,346 | 0.851 | 3.14 |" in page()


def test_what_was_not_measured_is_a_dash() -> None:
    """None is no number."""
    assert "| theirs | 1 | 7 | – | 0.00123 |" in page()  # noqa: RUF001 - as printed


def test_a_section_says_what_it_means_and_how_to_repeat_it() -> None:
    """The title, then the meaning, then the command."""
    assert "## Speed\n\nHow fast.\n\n`python -m benchmarks --only speed`, 20" in page()


def test_the_page_names_machine_and_versions() -> None:
    """A number without its machine says nothing."""
    assert "2 cores of Abacus 3, 23.5 GiB, Linux 6; Python 3.11, ray 2.60." in page()


@pytest.mark.parametrize("quick", [True, False])
def test_a_quick_run_is_called_one(quick: bool) -> None:
    """Its numbers are not to be quoted."""
    assert ("**quick" in page(quick=quick)) is quick


def test_a_report_survives_its_file() -> None:
    """The page can be made again from the JSON alone."""
    report = Report(machine=MACHINE, sections=(benchmark(ROWS).run(quick=False),))
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_a_table_holds_a_row_for_each_dataclass() -> None:
    """Columns are the fields, in their order."""
    assert table("By design:", ROWS[:1]) == Table(
        caption="By design:",
        columns=("design", "clients", "frames_per_s", "http_over_bare", "p50_ms"),
        rows=(("ours", 8, 12345.6, 0.8512, 3.14159),),
    )
