"""Reproductions: the recipe that made a model, and whether what it makes anew is as good."""

import math
from collections.abc import Iterator
from pathlib import Path

from serve_app.errors import ArtifactInvalid
from serve_app.models.mixture import SIMULATED
from serve_app.models.recipe import Recipe
from serve_app.models.registry import Manifest, ModelRegistry


def load_reference(folder: Path) -> Manifest:
    """Read the manifest of ``<models_dir>/<name>/<version>/``.

    Raises:
        ArtifactInvalid: that is no folder of a model.
    """
    folder = folder.resolve()
    if not folder.name.isdecimal():
        raise ArtifactInvalid(f"{folder} is no version of a model; name a folder such as models/NAME/1")
    return ModelRegistry(folder.parent.parent).load_manifest(folder.parent.name, int(folder.name))


def recipe_of(reference: Manifest) -> Recipe:
    """The recipe that made a model.

    Raises:
        ArtifactInvalid: not all it learnt from was simulated by this project, or it has no intervals to lie within.
    """
    training, calibration = reference.training, reference.calibration
    is_simulated = all(name.endswith(SIMULATED) for name in _bounded(reference))
    if not (training and calibration and is_simulated) or training.n_labelled_rows:
        raise ArtifactInvalid(
            f"{reference.label} cannot be reproduced: it was not trained and calibrated on simulated rows alone"
        )
    if not _bounded(reference):
        raise ArtifactInvalid(f"{reference.label} holds no intervals to compare with; train it again")
    return Recipe(
        reference.backend, training.seed, training.n_identities, training.epochs, reference.name, calibration.method
    )


def deviations(made: Manifest, reference: Manifest) -> Iterator[str]:
    """Say of each metric of a model made anew that lies outside of the reference's interval what it is."""
    for name in _bounded(reference):
        value = made.metrics.get(name, math.nan)
        low, high = reference.metrics[f"{name}_low"], reference.metrics[f"{name}_high"]
        if not low <= value <= high:
            yield f"{name} is {value:.4f}, outside of {low:.4f} to {high:.4f}"


def _bounded(manifest: Manifest) -> list[str]:
    """The metrics that have an interval."""
    return [name for name in manifest.metrics if f"{name}_low" in manifest.metrics]
