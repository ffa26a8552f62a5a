"""What the command line shows of models: a bar over epochs, tables of measurements and of models."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

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
            table.add_row(naming.format(name), f"{estimate.value:.3f}", interval)
        table.add_section()
    console.print(table)
    console.print(f"{evaluation.n_rows} rows of {evaluation.n_groups} people or videos", highlight=False)


def show_models(console: Console, manifests: Sequence[Manifest]) -> None:
    """Print a row for each model."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "version", "backend", "format", "threshold", "AUC", "SHA-256"):
        table.add_column(heading, justify="right" if heading in ("version", "threshold") else "left", overflow="fold")
    for manifest in manifests:
        table.add_row(
            manifest.name,
            str(manifest.version),
            manifest.backend,
            manifest.architecture,
            f"{manifest.threshold:g}",
            _auc(manifest.metrics),
            manifest.weights_sha256[:12],
        )
    console.print(table)


def _auc(metrics: Mapping[str, float]) -> str:
    """The AUC on labelled rows, or else on simulated ones, with its interval where there is one."""
    name = next((name for name in ("auc", "auc_simulated") if name in metrics), None)
    if name is None:
        return "not measured"
    bounds = [metrics[bound] for bound in (f"{name}_low", f"{name}_high") if bound in metrics]
    interval = f" ({' to '.join(f'{bound:.3f}' for bound in bounds)})" if bounds else ""
    return f"{metrics[name]:.3f}{interval}{' simulated' if name == 'auc_simulated' else ''}"
