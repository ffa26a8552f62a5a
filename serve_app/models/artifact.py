"""Writing a model's folder, and packing a network's weights."""

import hashlib
import tempfile
from pathlib import Path

from safetensors.torch import save as save_safetensors

from serve_app.models.network import DeepfakeNet
from serve_app.models.registry import CARD_FILE, MANIFEST_FILE, Manifest
from serve_app.models.writing import writing


def write_artifact(models_dir: Path, manifest: Manifest, weights: bytes, card: str) -> Path:
    """Write a model's folder, whole or not at all; ``card`` is Markdown.

    Raises:
        OSError: that version is there already, or the folder cannot be written.
    """
    folder = models_dir / manifest.name / str(manifest.version)
    with writing(folder):
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
