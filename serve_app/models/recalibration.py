"""Recalibration: a model's logits become probabilities that hold on labelled rows of one's own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from serve_app.models.artifact import write_artifact
from serve_app.models.calibration import CalibrationMethod, fit_calibration, uncertain_band
from serve_app.models.card import card_title, metric_rows
from serve_app.models.dataset import LabelledRows, split_rows
from serve_app.models.evaluation import evaluate, flat_metrics
from serve_app.models.mixture import LABELLED
from serve_app.models.recipe import Trained
from serve_app.models.registry import Manifest, ModelRegistry, UncertainBand
from serve_app.models.runtimes import Runtime, load_runtime

_SECTION = """
## Calibrated again
Version {version} was made from version {earlier} in the folder `{source}`, its source, by `deepfake-serve calibrate` on
{n_rows} rows of labelled CSVs ({method}). Whatever is said above of scores, calibration and what they measure holds for
the source alone; scores from {low:.2f} to {high:.2f} should now be read as "uncertain". Measured on other people of the
same CSVs, with 95 % intervals:

| metric | value |
| --- | --- |
{metrics}
"""
_BATCH_ROWS = 4096


@dataclass(frozen=True)
class Recalibration:
    """How to calibrate, the seed of the split into rows to fit and to measure on, and the models folder to write to."""

    method: CalibrationMethod
    seed: int
    output_dir: Path


def recalibrate(registry: ModelRegistry, manifest: Manifest, rows: LabelledRows, request: Recalibration) -> Trained:
    """Fit a model's calibration and uncertain band to half of the people, measure on the others, write a new version.

    Raises:
        ArtifactInvalid: the model's folder does not hold what its manifest says.
        RowsUnusable: a half would have no real row, or no fake.
        OSError: the output folder cannot be written.
    """
    content = registry.load_weights(manifest)
    runtime = load_runtime(manifest, content, torch.device("cpu"), cpu_threads=1)
    fitted, held_out = split_rows(rows, (0.5, 0.5), request.seed)
    logits = _compute_logits(runtime, fitted.features)
    calibration = fit_calibration(request.method, fitted.labels, logits)
    low, high = uncertain_band(fitted.labels, calibration.scores(logits), threshold=manifest.threshold)
    evaluation = evaluate(held_out.scored(calibration.scores(_compute_logits(runtime, held_out.features))))
    calibrated = manifest.model_copy(
        update={
            "version": max(ModelRegistry(request.output_dir).versions(manifest.name), default=0) + 1,
            "calibration": calibration,
            "uncertain_band": UncertainBand(low=round(low, 4), high=round(high, 4)),
            "metrics": flat_metrics(evaluation, LABELLED),
        }
    )
    section = _SECTION.format(
        version=calibrated.version,
        n_rows=len(fitted),
        method=request.method,
        earlier=manifest.version,
        source=registry.models_dir.resolve().name,  # a card is public: not the whole path
        low=low,
        high=high,
        metrics="\n".join(metric_rows(calibrated.metrics)),
    )
    card, title = registry.load_card(manifest), card_title(manifest)
    if card.startswith(title):  # an imported model's may have another
        card = card_title(calibrated) + card.removeprefix(title)
    folder = write_artifact(request.output_dir, calibrated, content, card + section)
    return Trained(folder, calibrated, {LABELLED: evaluation})


def _compute_logits(runtime: Runtime, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    starts = range(0, len(features), _BATCH_ROWS)
    return np.concatenate(
        [runtime.read(features[start : start + _BATCH_ROWS], with_reasons=False).logits for start in starts]
    )
