"""Writing a model's folder: weights, manifest, and a card that says what the model is and is not."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from safetensors.torch import save as save_safetensors

from serve_app.models.network import DeepfakeNet
from serve_app.models.registry import CARD_FILE, MANIFEST_FILE, Manifest
from serve_app.settings import Backend

_CARD = """\
# {name}, version {version}

**This model has never seen a real deepfake, nor any real face: it was trained on simulated landmarks alone. Its score
must not be the only ground for a decision about a person or a recording.** It judges the geometry of a face (68
landmarks, eyes, gaze, head pose), not its pixels. Published work shows that geometry which separates one set of
deepfakes may fail on another: head-pose inconsistency reached an AUC of .890 on UADFV, and .546 on Celeb-DF.

## What it does
It takes the 674 features of one frame, as the `{backend}` extractor writes them, and gives P(fake) in 0..1. Scores from
{low:g} to {high:g} should be read as "uncertain". The threshold is {threshold:g}.

## How it was made
`{created_by}`, seed {seed}: {n_identities} simulated identities, {n_rows} rows, {epochs} epochs. Each real row is a
sampled head (identity, expression, gaze) seen by a sampled camera, with a landmark network's errors; each fake was made
from one of them: a swapped inner face, a foreign mouth, mismatched eyes, an inner face turned against its outline, or a
bad blend. {calibration_note} How large a forger's errors are is a guess.

## What was measured
On simulated identities that took no part in training; so these numbers say how well it learned the simulation, and
nothing about deepfakes in the wild. The calibration ({calibration}) was fitted on other identities again.

| metric | value |
| --- | --- |
{metrics}

## Limits
- One frame at a time: flicker and timing are not seen. Nor is texture: a swap with aligned landmarks passes for real.
- Profiles beyond 45 degrees, faces under 40 px, strong expressions and occlusions were simulated seldom or never.
- Features of another extractor mean something else; the service refuses to mix them.

Licence: {license}.
"""

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
distance from a face mesh over four persons; no row of theirs was trained on. Mouths and jaws vary more, and smile
more, than those simulated for the face mesh. **Tried on what the real OpenFace writes of two people, version 2 takes
one for real (mean score 0.09, highest 0.13, over 30 frames, which also helped to choose among settings) and is
uncertain of the other (mean 0.47, highest 0.75, over 15 frames made from one portrait, which helped to decide what to
read and what to simulate; some frames are called fake): expect it to accuse real people.**""",
    }
)


def write_artifact(models_dir: Path, manifest: Manifest, weights: bytes, card: str) -> Path:
    """Write a model's folder, whole or not at all; ``card`` is Markdown.

    Raises:
        OSError: that version is there already, or the folder cannot be written.
    """
    folder = models_dir / manifest.name / str(manifest.version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as parent:  # the registry sees no such name
        staged = Path(parent) / folder.name
        staged.mkdir()
        (staged / manifest.weights_file).write_bytes(weights)
        (staged / CARD_FILE).write_text(card, encoding="utf-8")
        (staged / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        staged.rename(folder)
    return folder


def pack_weights(network: DeepfakeNet) -> tuple[bytes, str]:
    """Serialise a network: safetensors bytes and their SHA-256."""
    weights = save_safetensors({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    return weights, hashlib.sha256(weights).hexdigest()


def write_card(manifest: Manifest) -> str:
    """Write a simulation-trained model's card, in Markdown.

    Raises:
        ValueError: the manifest lacks what training writes.
    """
    if not (manifest.training and manifest.calibration and manifest.uncertain_band):
        raise ValueError(f"{manifest.label}: a card needs its training, its calibration and its uncertain band")
    return _CARD.format(
        **manifest.model_dump(include={"name", "version", "backend", "threshold", "license"}),
        **manifest.training.model_dump(),
        low=manifest.uncertain_band.low,
        high=manifest.uncertain_band.high,
        calibration=manifest.calibration.method,
        calibration_note=_CALIBRATION_NOTES[manifest.backend],
        metrics="\n".join(f"| {name} | {value:.4f} |" for name, value in manifest.metrics.items()),
    )
