"""Importing a model made elsewhere, as ONNX or as a ``torch.export`` program, into a models folder."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from pydantic import ValidationError

from serve_app.errors import ArtifactInvalid
from serve_app.models.artifact import write_artifact
from serve_app.models.registry import Architecture, Manifest, ModelRegistry, Output, feature_list, first_error
from serve_app.models.runtimes import load_runtime
from serve_app.settings import Backend

_ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({".onnx": "onnx", ".pt2": "torch-export"})
_KERAS = frozenset({".h5", ".hdf5", ".keras", ".pb"})

_CARD = """\
# {name}, version {version}

**Nothing is known here of what this model was trained on, nor how often it is right: it was imported from `{file}`
without a card. Its score must not be the only ground for a decision about a person or a recording.**

It takes the 674 features of one frame, as the `{backend}` extractor writes them. The threshold is {threshold:g}.

Licence: {license}.
"""


@dataclass(frozen=True)
class ImportRequest:
    """What to import: a file, and what it does not say of itself; ``card`` is Markdown."""

    file: Path
    name: str
    backend: Backend
    output: Output
    license: str
    threshold: float = 0.5
    card: str | None = None


def import_model(request: ImportRequest, models_dir: Path) -> Manifest:
    """Copy a model into ``<models_dir>/<name>/<next version>/``, once it has been loaded and tried on rows of zeros.

    Raises:
        ArtifactInvalid: the file is of a kind that is not served, or does not do what was said of it.
        OSError: the file cannot be read, or the folder cannot be written.
    """
    content = request.file.read_bytes()
    manifest = _manifest(request, content, max(ModelRegistry(models_dir).versions(request.name), default=0) + 1)
    load_runtime(manifest, content, torch.device("cpu"), cpu_threads=1)
    write_artifact(models_dir, manifest, content, request.card or _card(request, manifest))
    return manifest


def _manifest(request: ImportRequest, content: bytes, version: int) -> Manifest:
    try:
        return Manifest(
            name=request.name,
            version=version,
            architecture=_architecture(request.file),
            backend=request.backend,
            features=feature_list(),
            output=request.output,
            threshold=request.threshold,
            weights_sha256=hashlib.sha256(content).hexdigest(),
            license=request.license,
        )
    except ValidationError as exc:
        raise ArtifactInvalid(f"{request.file.name} cannot be imported so: {first_error(exc)}") from exc


def _architecture(file: Path) -> Architecture:
    suffix = file.suffix.lower()
    if suffix in _ARCHITECTURES:
        return _ARCHITECTURES[suffix]
    if suffix in _KERAS:
        raise ArtifactInvalid(
            f"{file.name}: Keras files are not read; convert it with tf2onnx and import the .onnx (docs/models.md)"
        )
    raise ArtifactInvalid(
        f"{file.name}: only .onnx and .pt2 are imported; a pickle (.pt, .pth, .pkl) runs code when it is opened: "
        "where the model can be trusted, export it with torch.onnx.export or torch.export.save (docs/models.md)"
    )


def _card(request: ImportRequest, manifest: Manifest) -> str:
    return _CARD.format(
        **manifest.model_dump(include={"name", "version", "backend", "threshold", "license"}), file=request.file.name
    )
