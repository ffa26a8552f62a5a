"""What the command line shows of models: a bar over epochs, tables of measurements and of models."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from serve_app.model_names import ModelReference
from serve_app.models.evaluation import Estimate, Evaluation
from serve_app.models.registry import Manifest
from serve_app.models.training import EpochReport


@contextmanager
def epoch_progress(console: Console, n_epochs: int) -> Iterator[Callable[[EpochReport], None]]:
    """Show a bar over epochs, and a line for each that is done."""
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("epochs", total=n_epochs)

        def show(report: EpochReport) -> None:
            progress.update(bar, completed=report.epoch)
            progress.console.print(
                f"epoch {report.epoch}/{report.epochs}: loss {report.loss:.4f}, "
                f"AUC on held-out people {report.validation_auc:.4f}",
                highlight=False,
            )

        yield show


@contextmanager
def clip_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar over the clips of the check set."""
    columns = (TextColumn("making the check set"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("clips", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def show_evaluation(console: Console, evaluation: Evaluation, *, title: str, suffix: str) -> None:
    """Print every estimate with its interval: metrics, then AUCs per family and per head pose."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("metric", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    parts: Sequence[tuple[str, Mapping[str, Estimate]]] = (
        (f"{{}}{suffix}", evaluation.metrics),
        (f"auc_{{}}{suffix}", evaluation.by_family),
        (f"auc{suffix}, head turned {{}} degrees", evaluation.by_pose),
    )
    for naming, estimates in parts:
        for name, estimate in estimates.items():
            interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
            table.add_row(escape(naming.format(name)), f"{estimate.value:.3f}", interval)
        table.add_section()
    console.print(table)
    console.print(f"{evaluation.n_rows} rows of {evaluation.n_groups} people or videos", highlight=False)


def show_models(console: Console, manifests: Sequence[Manifest]) -> None:
    """Print a row for each model."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("model", "backend", "format", "threshold", "AUC"):  # as much as 80 columns hold
        table.add_column(
            heading, justify="right" if heading == "threshold" else "left", no_wrap=heading != "AUC", overflow="fold"
        )
    for manifest in manifests:
        table.add_row(
            str(ModelReference(manifest.name, manifest.version)),
            manifest.backend,
            manifest.architecture,
            f"{manifest.threshold:g}",
            _auc(manifest.metrics),
        )
    console.print(table)


def _auc(metrics: Mapping[str, float]) -> str:
    """The AUC on labelled rows, or else on simulated ones; its interval is in the card."""
    if "auc" in metrics:
        return f"{metrics['auc']:.3f}"
    return f"{metrics['auc_simulated']:.3f} simulated" if "auc_simulated" in metrics else "not measured"
