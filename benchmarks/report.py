"""A benchmark's result: tables of numbers, as JSON, as Markdown."""

import argparse
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Cell = str | int | float | None

_PAGE_HEAD = """\
# Performance

Made by `make bench`; `python -m benchmarks --render {json}` writes this page again from its numbers. Every number is a
median unless its name says otherwise. Compare ratios: each was taken within one run, against a baseline that was timed
in turn with it, so a slower machine moves both.
"""
_UNITS = {"ms": "ms", "s": "s", "mb": "MB"}
_VERSIONED = ("ray", "torch", "numpy", "fastapi")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Table(_Frozen):
    """Rows of cells under columns; a column's name holds its unit, as ``p50_ms`` or ``frames_per_s``."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Section(_Frozen):
    """What one benchmark found, what that means, and when; ``quick`` numbers are not to be quoted."""

    name: str
    title: str
    meaning: str
    date: str
    quick: bool
    tables: tuple[Table, ...]


class Machine(_Frozen):
    """Where a report was made."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    versions: tuple[str, ...]


class Report(_Frozen):
    """All sections of one run."""

    machine: Machine
    sections: tuple[Section, ...]


class Benchmark(_Frozen):
    """One entry of the door: ``measure`` takes ``quick`` and returns the tables."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    title: str
    meaning: str
    tables: Callable[[bool], tuple[Table, ...]]

    def run(self, *, quick: bool) -> Section:
        """Measure."""
        today = datetime.now(UTC).date().isoformat()
        tables = self.tables(quick)
        return Section(name=self.name, title=self.title, meaning=self.meaning, date=today, quick=quick, tables=tables)


def table(caption: str, rows: "Sequence[DataclassInstance]") -> Table:
    """Lay out like dataclasses, at least one, a row each."""
    columns = tuple(field.name for field in fields(rows[0]))
    return Table(caption=caption, columns=columns, rows=tuple(tuple(asdict(row).values()) for row in rows))


def this_machine() -> Machine:
    """Describe where this runs, now."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        versions=(f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _VERSIONED)),
    )


def to_markdown(report: Report, json_file: Path) -> str:
    """Write a report as a page."""
    machine = report.machine
    where = (
        f"{machine.cores} cores of {machine.cpu}, {machine.memory_gib:g} GiB, {machine.system}; "
        f"{', '.join(machine.versions)}."
    )
    sections = [section_markdown(section) for section in report.sections]
    return "\n".join([_PAGE_HEAD.format(json=json_file), f"{where}\n", *sections])


def run_alone(benchmark: Benchmark, description: str | None) -> None:
    """Be the main function of one benchmark: measure, and print its section as Markdown or JSON."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="few repetitions, about a minute: only to see that it works"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    arguments = parser.parse_args()
    section = benchmark.run(quick=arguments.quick)
    print(section.model_dump_json(indent=2) if arguments.json else section_markdown(section))


def section_markdown(section: Section) -> str:
    """Write one section."""
    command = f"`python -m benchmarks --only {section.name}`, {section.date}"
    quick = ", **quick: few repetitions, numbers only to see that it works**" if section.quick else ""
    tables = [f"{_table(table)}\n" for table in section.tables]
    return "\n".join([f"## {section.title}\n", f"{section.meaning.strip()}\n", f"{command}{quick}\n", *tables])


def _table(table: Table) -> str:
    head = "| " + " | ".join(_column(name) for name in table.columns) + " |"
    rule = "| " + " | ".join("---" if _is_text(table, index) else "---:" for index in range(len(table.columns))) + " |"
    rows = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join([f"{table.caption}\n", head, rule, *rows])


def _column(name: str) -> str:
    """A column's name as a reader says it: ``frames_per_s`` is frames/s, ``p50_ms`` is p50, ms."""
    spoken = name.replace("_per_", "/").replace("_over_", " / ").replace("_", " ")
    return re.sub(r" (ms|s|mb)$", lambda unit: ", " + _UNITS[unit[1]], spoken)


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"  # noqa: RUF001 - an empty cell of a printed table
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _is_text(table: Table, column: int) -> bool:
    return any(isinstance(row[column], str) for row in table.rows)


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
