"""Plots of an evaluation as PNG files, drawn by matplotlib, which is loaded for nothing else."""

import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serve_app.errors import ExtraMissing
from serve_app.models.evaluation import Estimate, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 110
_TITLE_CHARACTERS_PER_INCH = 10
_LOW_FPR = 0.1  # the part of the ROC curve that a user can afford is drawn a second time, larger
_CURVE, _BAND, _CHANCE = "tab:blue", "#1f77b433", "0.5"


def require_matplotlib() -> None:
    """Refuse to begin what would end in plots: better before an hour of training than after it.

    Raises:
        ExtraMissing: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ExtraMissing(
            "a report's plots need matplotlib, which is not installed; run `pip install 'deepfake-serve[plots]'`, "
            "or do without a report"
        )


def draw_roc(path: Path, evaluation: Evaluation, *, title: str) -> None:
    """Draw the ROC curve with its 95 % band: whole, and where at most 10 % of the reals are accused.

    Raises:
        ExtraMissing: matplotlib is not installed.
    """
    figure = _new_figure(11.0, 5.4)
    whole, low = figure.subplots(1, 2)
    for axes, fpr_limit in ((whole, 1.0), (low, _LOW_FPR)):
        _draw_curve(axes, evaluation)
        axes.set(xlim=(0.0, fpr_limit), ylim=(0.0, 1.005), xlabel="false positive rate: reals accused")
        axes.set_ylabel("true positive rate: fakes found")
    whole.legend(loc="lower right")
    for name, fpr in (("tpr_at_fpr_1pct", 0.01), ("tpr_at_fpr_5pct", 0.05)):
        found = evaluation.metrics[name]
        low.plot(fpr, found.value, "o", color=_CURVE)
        low.annotate(f"{fpr:.0%}: {interval(found)}", (fpr, found.value), (6, -14), textcoords="offset points")
    whole.set_title("all thresholds")
    low.set_title("few false accusations")
    _save(figure, path, evaluation, title)


def draw_reliability(path: Path, evaluation: Evaluation, *, title: str) -> None:
    """Draw the share of fakes against the score that promised it, with 95 % bands, and how many rows scored so.

    Raises:
        ExtraMissing: matplotlib is not installed.
    """
    figure, bins = _new_figure(6.6, 7.2), evaluation.reliability
    kept, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    reach = np.abs(np.stack([bins.share_low, bins.share_high]) - bins.share)
    kept.plot((0, 1), (0, 1), "--", color=_CHANCE, label="perfect calibration")
    kept.errorbar(
        bins.score,
        bins.share,
        reach,
        fmt="o-",
        color=_CURVE,
        capsize=3,
        label=f"ECE {interval(evaluation.metrics['ece'])}",
    )
    kept.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share of fakes in the bin")
    kept.legend(loc="upper left")
    counts.bar(bins.score, bins.count, width=0.04, color=_CURVE)
    for score, count in zip(bins.score, bins.count, strict=True):
        counts.annotate(str(count), (score, count), ha="center", va="bottom", fontsize=7)
    counts.set(yscale="log", xlabel="mean score P(fake) of the bin", ylabel="rows")
    counts.tick_params(axis="y", which="minor", labelleft=False)
    counts.margins(y=0.25)
    _save(figure, path, evaluation, title)


def interval(estimate: Estimate) -> str:
    """Write a value and its bounds, as in ``0.953 [0.948, 0.957]``."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _draw_curve(axes: "Axes", evaluation: Evaluation) -> None:
    roc = evaluation.roc
    axes.fill_between(roc.fpr, roc.tpr_low, roc.tpr_high, step="post", color=_BAND, label="95 % band")
    axes.step(roc.fpr, roc.tpr, where="post", color=_CURVE, label=f"AUC {interval(evaluation.metrics['auc'])}")
    axes.plot((0, 1), (0, 1), "--", color=_CHANCE, label="chance")
    axes.grid(alpha=0.3)


def _new_figure(width_in: float, height_in: float) -> "Figure":
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and a second to load

    return Figure((width_in, height_in), layout="constrained")


def _save(figure: "Figure", path: Path, evaluation: Evaluation, title: str) -> None:
    title = textwrap.fill(title, int(_TITLE_CHARACTERS_PER_INCH * figure.get_figwidth()))
    figure.suptitle(f"{title}\n{evaluation.n_rows:,} rows of {evaluation.n_groups:,} identities or videos")
    figure.savefig(path, format="png", dpi=_DPI)
