"""Model cards: what a trained model is, what it has never seen, and what was measured of it, in Markdown."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from serve_app.models.registry import Manifest, TrainingSummary
from serve_app.settings import Backend

_CARD = """\
{title}
{warning} It judges the geometry of a face (68
landmarks, eyes, gaze, head pose), not its pixels. Published work shows that geometry which separates one set of
deepfakes may fail on another: head-pose inconsistency reached an AUC of .890 on UADFV, and .546 on Celeb-DF.

## What it does
It takes the 674 features of one frame, as the `{backend}` extractor writes them, and gives P(fake) in 0..1. Scores from
{low:.2f} to {high:.2f} should be read as "uncertain". The threshold is {threshold:g}.

## How it was made
`{created_by}`, seed {seed}, {epochs} epochs: {rows}

## What was measured
{measured} The calibration ({calibration}) was fitted on other people again. In brackets: the
95 % interval of a bootstrap over people.

| metric | value |
| --- | --- |
{metrics}

## Limits
- One frame at a time: flicker and timing are not seen. Nor is texture: a swap with aligned landmarks passes for real.
- Profiles beyond 45 degrees, faces under 40 px, strong expressions and occlusions {rarity}.
- Features of another extractor mean something else; the service refuses to mix them.

Licence: {license}.
"""

_WARNINGS = MappingProxyType(
    {
        "simulated": """\
**This model has never seen a real deepfake, nor any real face: it was trained on simulated landmarks alone. Its score
must not be the only ground for a decision about a person or a recording.**""",
        "labelled": """\
**This model has never seen a deepfake of another kind than those of the folder it was trained on, nor people or cameras
unlike theirs. Its score must not be the only ground for a decision about a person or a recording.**""",
    }
)

_SIMULATED_ROWS = """\
{n_identities} simulated identities, {n_simulated_rows} rows. Each real row is a
sampled head (identity, expression, gaze) seen by a sampled camera, with a landmark network's errors; each fake was made
from one of them: a swapped inner face, a foreign mouth, mismatched eyes, an inner face turned against its outline, or a
bad blend. {calibration_note} How large a forger's errors are is a guess."""

_LABELLED_ROWS = "{n_labelled_rows} rows of a folder of labelled CSVs, of {n_labelled_groups} groups of people."

_SIMULATED_RARITY = "were simulated seldom or never"
_LABELLED_RARITY = "are known as far as the folder holds them"

_MEASURED_SIMULATED = """\
Names that end in `_simulated`: on simulated identities that took no part in training; so these numbers say how well it
learned the simulation, and nothing about deepfakes in the wild."""

_MEASURED_LABELLED = """\
Names without `_simulated`: on people of the labelled folder that took no part in training."""

_CALIBRATION_NOTES: Mapping[Backend, str] = MappingProxyType(
    {
        "facemesh": """\
How much faces vary and how far the landmark network errs was set so that a handful of real photographs lie
well within what is simulated.""",
        "openface": """\
OpenFace fits a shape model of its own, which may not be copied: a stand-in, learnt from simulated heads and
never twice the same, was fitted in its place. So the model reads 2D landmarks, gaze and pose. It reads neither
`p_0` to `p_33` nor any 3D point, which come from OpenFace's own models. How far OpenFace errs, and how far its mean
face lies from the stand-in's, was set by the size of what it wrote of 30 frames of one person and of its known
distance from a face mesh over four persons; no row of theirs was trained on. **Models trained so are weaker than those
for the face mesh, and accuse real people.** On what the real OpenFace writes of three of them, the version 2 that ships
takes one for real (mean score 0.07, highest 0.10, 30 frames of a recorded sequence) and is uncertain of two (means 0.39
and 0.37, highest 0.77 and 0.91, 48 frames made from a portrait each, over a quarter of them called fake). These people
helped to choose among settings; with twice the epochs it separated simulated faces better (AUC .889) and called one of
them fake (mean 0.71).""",
    }
)


def write_card(manifest: Manifest) -> str:
    """Write the card of a model that this project trained.

    Raises:
        ValueError: the manifest lacks what training writes.
    """
    training, calibration, band = manifest.training, manifest.calibration, manifest.uncertain_band
    if not (training and calibration and band):
        raise ValueError(f"{manifest.label}: a card needs its training, its calibration and its uncertain band")
    return _CARD.format(
        **manifest.model_dump(include={"backend", "threshold", "license"}),
        **training.model_dump(include={"created_by", "seed", "epochs"}),
        title=card_title(manifest),
        warning=_WARNINGS["labelled" if training.n_labelled_rows else "simulated"],
        rows="\n\n".join(_rows(training, manifest.backend)),
        measured="\n".join(_measured(training)),
        rarity=_SIMULATED_RARITY if training.n_identities else _LABELLED_RARITY,
        low=band.low,
        high=band.high,
        calibration=calibration.method,
        metrics="\n".join(metric_rows(manifest.metrics)),
    )


def card_title(manifest: Manifest) -> str:
    """Write the line that a card begins with, as this project writes it."""
    return f"# {manifest.name}, version {manifest.version}\n"


def metric_rows(metrics: Mapping[str, float]) -> Iterator[str]:
    """Write a row of a Markdown table for each metric, with its interval where there is one."""
    for name, value in metrics.items():
        if not name.endswith(("_low", "_high")):
            low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            interval = "" if low is None or high is None else f" [{low:.4f}, {high:.4f}]"
            yield f"| {name} | {value:.4f}{interval} |"


def _rows(training: TrainingSummary, backend: Backend) -> Iterator[str]:
    """What the model was trained on, a paragraph for each kind of rows."""
    if training.n_identities:
        yield _SIMULATED_ROWS.format(
            n_identities=training.n_identities,
            n_simulated_rows=training.n_rows - training.n_labelled_rows,
            calibration_note=_CALIBRATION_NOTES[backend],
        )
    if training.n_labelled_rows:
        yield _LABELLED_ROWS.format(**training.model_dump(include={"n_labelled_rows", "n_labelled_groups"}))


def _measured(training: TrainingSummary) -> Iterator[str]:
    if training.n_identities:
        yield _MEASURED_SIMULATED
    if training.n_labelled_rows:
        yield _MEASURED_LABELLED
