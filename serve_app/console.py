"""What the command line shows a person: a progress bar over frames, a table of predictions, a summary line."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from serve_app.client import Answer

_LABEL_STYLES = {"fake": "bold red", "real": "green"}
_BAR_WIDTH = 10
_MARK = "[bold yellow]?[/]"  # beside the label of a face the model does not know


@contextmanager
def frame_progress(console: Console, n_frames: int) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar from 0 to ``n_frames``."""
    columns = (TextColumn("scoring frames"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress, progress.add_task("frames", total=n_frames)


def show_answer(console: Console, answer: Answer, file_names: list[str]) -> None:
    """Print the per-frame table and the summary of one answer; ``file_names`` in the order of the upload."""
    table = Table(title=f"session {answer['session_id']}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    is_explained = any(prediction.get("reasons") for prediction in answer["predictions"])
    for heading in ("frame", "file", "status", "P(fake)", "", "label", "driven by" if is_explained else "confidence"):
        table.add_column(heading, justify="right" if heading in ("frame", "P(fake)", "confidence") else "left")
    for prediction, file_name in zip(answer["predictions"], file_names, strict=True):
        table.add_row(str(prediction["frame_id"]), escape(file_name), *_outcome_cells(prediction))
    console.print(table)
    console.print(_summary_line(answer))
    if any("reasons" in prediction and prediction["reasons"] is None for prediction in answer["predictions"]):
        console.print("this model gives no reasons")
    n_unknown = answer["summary"]["out_of_distribution_count"]
    if n_unknown:
        console.print(f"{_MARK} the model knows no such face ({n_unknown} frames): its score of them means little")


def _outcome_cells(prediction: Answer) -> tuple[str, ...]:
    scored = prediction["prediction"]
    if scored is None:
        return prediction["status"], "", "", "", prediction["error"]
    bar = "█" * round(scored["score"] * _BAR_WIDTH)
    style = _LABEL_STYLES[scored["label"]]
    label = f"[{style}]{scored['label']}[/]{_MARK if prediction['out_of_distribution'] else ''}"
    reasons = prediction.get("reasons")
    last = _reason(reasons[0]) if reasons else f"{scored['confidence']:.2f}"
    return prediction["status"], f"{scored['score']:.3f}", f"[{style}]{bar}[/]", label, last


def _reason(reason: Answer) -> str:
    return f"{reason['group'].replace('_', ' ')} {reason['contribution']:+.1f}"


def _summary_line(answer: Answer) -> str:
    summary = answer["summary"]
    if summary["average_score"] is None:
        return f"[bold]not applicable[/]: none of {summary['total_frames']} frames could be scored"
    return (
        f"[bold]{summary['verdict']}[/]: {summary['fake_count']} fake, {summary['real_count']} real, "
        f"{summary['failed_frames']} without a score; mean P(fake) {summary['average_score']:.3f} "
        f"(threshold {summary['threshold']:g}, model {summary['model_used']})"
    )
