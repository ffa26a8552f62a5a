"""Every tunable, one frozen model per consumer; the only reader of the environment.

``configs/*.yaml`` writes these under ``args:``. An unknown key is refused. Where a field names an
environment variable, that variable is its default and the YAML wins.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Backend = Literal["facemesh", "openface"]
"""What computed the features; a model serves only the backend it was trained on."""

DEFAULT_MODEL = "mobilenetv2_celebv2"
PRETRAINED_DIR = Path(__file__).parent / "models" / "pretrained"
MAX_FRAMES = 30  # the seed's contract, not a tunable
_CHILD_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "OPENBLAS_CORETYPE")


def _from_environment(name: str, default: str) -> str:
    return os.environ.get(name) or default


def cache_dir() -> Path:
    """Where downloaded files live: ``$DEEPFAKE_SERVE_CACHE``, else the user's cache folder."""
    user_cache = _from_environment("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(_from_environment("DEEPFAKE_SERVE_CACHE", f"{user_cache}/deepfake-serve"))


def launch_environment() -> dict[str, str]:
    """Return the environment to start Ray in: this one, over defaults that suit a service on its own machine."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
        "RAY_worker_niceness": "0",  # Ray's 15 would let every other process go before the service
        "RAY_event_stats": "0",  # Ray's count of its own events: a fifth of what it costs idle
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # Serve's 0.1 costs 4 % of a core, idle
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",  # Serve's 100 costs 1 % of a core
        "REPORTER_UPDATE_INTERVAL_MS": "15000",  # of the machine's own figures: Ray's 5000 costs 1 % of a core
    }
    return defaults | os.environ


def child_environment() -> dict[str, str]:
    """Return what a native program needs of this environment to run: no key, no token, no display."""
    return {name: os.environ[name] for name in _CHILD_VARIABLES if name in os.environ}


def has_ray_plugins() -> bool:
    """Return whether Ray was given plugins, which may know more of a ``runtime_env`` than Ray does."""
    return bool(os.environ.get("RAY_RUNTIME_ENV_PLUGINS"))


def redis_url() -> str | None:
    """Return ``$REDIS_URL``, if it is set."""
    return os.environ.get("REDIS_URL") or None


def _openface_binary() -> Path | None:
    binary = os.environ.get("OPENFACE_BINARY")
    return Path(binary) if binary else None


def _temp_dir() -> Path:
    return Path(_from_environment("TEMP_DIR", "/tmp/openface_batch"))  # noqa: S108 - the seed's default


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OpenFaceSettings(_Settings):
    """The FeatureExtraction binary: which one, how it is called, and how long it may take."""

    binary: Path | None = Field(default_factory=_openface_binary)
    """None looks in the places where public images have it."""
    model: Path | None = None  # -mloc
    flags: tuple[str, ...] = ()  # after the five that write the 674 features
    temp_dir: Path = Field(default_factory=_temp_dir)
    slots: int = Field(default=1000, ge=3)  # in one process's life: a frame takes one, 10 s of idling, too
    frame_timeout_s: float = Field(default=30.0, gt=0)  # 24 megapixels take 10 s
    load_timeout_s: float = Field(default=90.0, gt=0)  # 4 to 8 s, but 60 s on a machine that does much else
    pin_to_core: bool = True  # a second core buys nothing, and its threads spin


class ExtractorSettings(_Settings):
    """The extractor: which backend, and how large a picture it decodes."""

    backend: Literal["auto", "facemesh", "openface"] = "facemesh"
    """auto: OpenFace where it is installed and works, else the face mesh."""
    openface: OpenFaceSettings = Field(default_factory=OpenFaceSettings)
    weights_dir: Path = Field(default_factory=lambda: cache_dir() / "facemesh")
    max_pixels: int = Field(default=50_000_000, gt=0)  # a 48 MP PNG peaks at 714 MB


class ParserSettings(_Settings):
    """The CSV parser: how sure the extractor must be of a face for it to be scored."""

    min_confidence: float = Field(default=0.725, ge=0, le=1)  # OpenFace's own boundary of a valid face


class PredictorSettings(_Settings):
    """The predictor: where its models live, and what it computes on."""

    models_dir: Path = Field(default_factory=lambda: Path(_from_environment("MODELS_DIR", str(PRETRAINED_DIR))))
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_batch_rows: int = Field(default=4096, gt=0)


class PredictorUserConfig(_Settings):
    """What the Predictor's ``user_config:`` may hold: Serve hands a change of it to the replicas that run."""

    revision: int = Field(default=0, ge=0)
    """Any other number than before has the models folder read again."""


class PipelineSettings(_Settings):
    """The fan-out of one request."""

    call_cost_s: float = Field(default=0.02, gt=0)  # of CPU, over all stages, whatever the number of its frames
    max_call_share: float = Field(default=0.05, gt=0)  # of what its frames cost, where a replica has more than one call
    max_frames_per_call: int = Field(default=MAX_FRAMES, gt=0)
    reload_wait_s: float = Field(default=5.0, gt=0)  # for a model that one predictor has loaded and another not yet
    deadline_s: float = Field(default=180.0, gt=0)


class ListenSettings(_Settings):
    """An address to listen on."""

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)


class IngressSettings(_Settings):
    """The HTTP edge of one ingress replica: its address, limits, admission, folders."""

    listen: ListenSettings | None = None
    """Where a lone replica listens itself; None leaves it to Serve's proxies, behind which there may be many."""
    pipeline: PipelineSettings = PipelineSettings()
    max_file_bytes: int = Field(default=20 * 2**20, gt=0)
    max_body_bytes: int = Field(default=200 * 2**20, gt=0)
    max_requests: int = Field(default=16, gt=0)  # admitted at a time, per ingress replica
    max_admitted_bytes: int = Field(default=2**29, gt=0)  # their bodies together, as declared or as they come
    retry_after_s: int = Field(default=5, gt=0)
    output_dir: Annotated[Path, AfterValidator(Path.absolute)] = Field(  # answers name it to clients
        default_factory=lambda: Path(_from_environment("OUTPUT_DIR", "/data/batch_output")), validate_default=True
    )
    temp_dir: Path = Field(default_factory=_temp_dir)
    openface_binary: Path = Field(
        default_factory=lambda: Path(_from_environment("OPENFACE_BINARY", "/usr/local/bin/FeatureExtraction"))
    )


class AppArgs(_Settings):
    """What ``args:`` in a config may hold: the settings of each deployment."""

    extractor: ExtractorSettings = Field(default_factory=ExtractorSettings)
    parser: ParserSettings = ParserSettings()
    predictor: PredictorSettings = Field(default_factory=PredictorSettings)
    ingress: IngressSettings = Field(default_factory=IngressSettings)


class LaunchSettings(_Settings):
    """Where the service listens, in place of what the config says: None leaves it to the config."""

    host: str | None = Field(default_factory=lambda: os.environ.get("HOST") or None)
    port: int | None = Field(
        default_factory=lambda: os.environ.get("PORT") or None, ge=1, le=65535, validate_default=True
    )
