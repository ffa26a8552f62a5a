"""The model registry: ``<models_dir>/<name>/<version>/`` with ``manifest.json``, the model's file, ``card.md``.

Nothing here is trusted before it is checked: names against a pattern, paths against the folder, the manifest against
its schema, the model's file against its hash. Pickles are never read.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.errors import ArtifactInvalid
from serve_app.features.schema import FEATURE_COLUMNS
from serve_app.models.calibration import Calibration
from serve_app.settings import Backend

MANIFEST_FILE = "manifest.json"
CARD_FILE = "card.md"

Architecture = Literal["inverted-residual-1d", "onnx", "torch-export"]
"""The project's own network, of which the file holds the weights; or a graph that is in the file with its weights."""

WEIGHTS_FILES: Mapping[Architecture, str] = MappingProxyType(
    {"inverted-residual-1d": "weights.safetensors", "onnx": "model.onnx", "torch-export": "model.pt2"}
)
"""What the model's file is called."""

Output = Literal["logit", "probability"]
"""What a model gives: ``(n,)`` or ``(n, 1)`` of P(fake) or its logit, or ``(n, 2)`` of real and fake."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # no dot, no slash: a name cannot leave the folder
_NAME = re.compile(_NAME_PATTERN)
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureList(_Strict):
    """Which features a model takes, in order: their count and the SHA-256 of their names, one a line."""

    count: int
    sha256: Sha256


class UncertainBand(_Strict):
    """Scores from ``low`` to ``high``, both included, are called uncertain."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class NoveltyLimits(_Strict):
    """A row is out of distribution beyond either: ``distance`` from the training rows, share of landmarks ``outside``.

    ``method`` says what the distance is (``models/novelty.py``); its constants are saved with the weights.
    """

    method: Literal["principal-components"] = "principal-components"
    distance: float = Field(gt=0, allow_inf_nan=False)
    outside: float = Field(gt=0, le=1)


class TrainingSummary(_Strict):
    """What it takes to train the same model again, but for the labelled rows themselves."""

    created_by: str
    seed: int
    n_identities: int
    n_rows: int
    """Simulated and labelled."""
    epochs: int
    n_labelled_rows: int = 0
    n_labelled_groups: int = 0
    labelled_share: float = 0.0
    """Of the rows seen in an epoch."""


class Manifest(_Strict):
    """What a model is, what it needs, and what was measured of it (``*_simulated``: on simulated faces only)."""

    name: str = Field(pattern=f"^{_NAME_PATTERN}$")
    version: int = Field(ge=1, lt=10**9)
    architecture: Architecture
    backend: Backend
    features: FeatureList
    output: Output = "logit"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    uncertain_band: UncertainBand | None = None
    calibration: Calibration | None = None
    """None: the model's own probabilities hold."""
    novelty: NoveltyLimits | None = None
    """None: it is not known what is far from its training."""
    weights_sha256: Sha256
    license: str
    card: Literal["card.md"] = "card.md"
    metrics: dict[str, float] = Field(default_factory=dict)
    training: TrainingSummary | None = None

    @property
    def label(self) -> str:
        """How errors name the model."""
        return f"model {self.name}/{self.version}"

    @property
    def weights_file(self) -> str:
        """The name of the model's file."""
        return WEIGHTS_FILES[self.architecture]


def require_model_name(name: str) -> None:
    """Refuse a name that no model can have.

    Raises:
        ArtifactInvalid: it is too long, or holds more than letters, digits, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise ArtifactInvalid(f"a model cannot be called {name!r}: use up to 64 letters, digits, - and _")


def feature_list(names: Sequence[str] = FEATURE_COLUMNS) -> FeatureList:
    """Fingerprint an ordered list of feature names; the default is what this service extracts."""
    return FeatureList(count=len(names), sha256=hashlib.sha256("\n".join(names).encode()).hexdigest())


class ModelRegistry:
    """The models of one folder."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir

    def names(self) -> list[str]:
        """List the models that have at least one version, sorted.

        Raises:
            ArtifactInvalid: the models folder, or one in it, is absent or cannot be read.
        """
        with _reading(self.models_dir):
            if not self.models_dir.is_dir():
                raise ArtifactInvalid(
                    f"the models folder {self.models_dir} does not exist; "
                    "give one by --models-dir, MODELS_DIR or the config's models_dir"
                )
            folders = [folder.name for folder in self.models_dir.iterdir() if _NAME.fullmatch(folder.name)]
        return sorted(name for name in folders if self.versions(name))

    def versions(self, name: str) -> list[int]:
        """List a model's versions, oldest first, in integer order; empty where there is no such model.

        Raises:
            ArtifactInvalid: the model's folder cannot be read.
        """
        model_dir = self.models_dir / name
        with _reading(model_dir):
            if not _NAME.fullmatch(name) or not model_dir.is_dir():
                return []
            folders = [folder.name for folder in model_dir.iterdir() if folder.is_dir()]
        return sorted(int(folder) for folder in folders if _VERSION.fullmatch(folder))

    def manifests(self) -> list[Manifest]:
        """Read and check all manifests, by name, oldest version first.

        Raises:
            ArtifactInvalid: a model's folder does not hold what this service can run.
        """
        return [self.load_manifest(name, version) for name in self.names() for version in self.versions(name)]

    def load_manifest(self, name: str, version: int) -> Manifest:
        """Read and check a model's manifest.

        Raises:
            ArtifactInvalid: there is no such model or version, or its folder does not hold what this service can run.
        """
        folder = self._folder(name, version)
        try:
            manifest = Manifest.model_validate_json(self._read(folder / MANIFEST_FILE))
        except ValidationError as exc:
            raise ArtifactInvalid(f"{_label(folder)}: {MANIFEST_FILE} is not valid: {first_error(exc)}") from exc
        if (manifest.name, str(manifest.version)) != (folder.parent.name, folder.name):
            raise ArtifactInvalid(
                f"{_label(folder)}: its manifest is of {manifest.name}/{manifest.version}; rename the folder to match"
            )
        if manifest.features != feature_list():
            raise ArtifactInvalid(
                f"{_label(folder)}: it was trained on other features than the {len(FEATURE_COLUMNS)} of this service, "
                "or on another order of them; train it again with `deepfake-serve train`"
            )
        return manifest

    def load_weights(self, manifest: Manifest) -> bytes:
        """Read a model's file, the bytes that were hashed.

        Raises:
            ArtifactInvalid: the file is missing, or is not the one the manifest names.
        """
        weights = self._read(self._folder(manifest.name, manifest.version) / manifest.weights_file)
        if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
            raise ArtifactInvalid(
                f"{manifest.label}: {manifest.weights_file} is not the file its manifest names (SHA-256 differs); "
                "restore it"
            )
        return weights

    def load_card(self, manifest: Manifest) -> str:
        """Read a model's card, in Markdown.

        Raises:
            ArtifactInvalid: the card is missing.
        """
        folder = self._folder(manifest.name, manifest.version)
        return self._read(folder / manifest.card).decode("utf-8", "replace")

    def _folder(self, name: str, version: int) -> Path:
        versions = self.versions(name)
        if not versions:
            raise ArtifactInvalid(f"there is no model {name!r} in {self.models_dir}")
        if version not in versions:
            raise ArtifactInvalid(f"model {name} has no version {version}; it has {versions}")
        return self.models_dir / name / str(version)

    def _read(self, path: Path) -> bytes:
        """Read a file of a model's folder; a link may not lead out of the models folder."""
        try:
            if not path.resolve(strict=True).is_relative_to(self.models_dir.resolve()):
                raise ArtifactInvalid(
                    f"{_label(path.parent)}: {path.name} lies outside {self.models_dir}; copy it in place of the link"
                )
            return path.read_bytes()
        except OSError as exc:
            raise ArtifactInvalid(
                f"{_label(path.parent)}: {path.name} cannot be read ({exc.strerror}); restore it"
            ) from exc


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ArtifactInvalid(f"the folder {folder} cannot be read ({exc.strerror}); let this user read it") from exc


def _label(folder: Path) -> str:
    return f"model {folder.parent.name}/{folder.name}"


def first_error(exc: ValidationError) -> str:
    """Say where in a manifest the first error is, and what."""
    error = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else str(error["msg"])
