"""What this installation has and lacks: one finding for each thing the service stands on."""

import importlib.metadata
import importlib.util
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from serve_app.errors import FrameError, OpenFaceUnusable, SetupError
from serve_app.extractors.facemesh.weights import FETCH_COMMAND, read_weights
from serve_app.extractors.openface.cold import ColdExtractor
from serve_app.extractors.openface.command import FEATURE_FLAGS, find_binary
from serve_app.extractors.openface.probe import probe
from serve_app.models.detector import Detectors, resolve_device
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.settings import AppArgs, ExtractorSettings, redis_url

Status = Literal["ok", "absent", "broken"]

_OPENFACE_REMEDY = (
    "mend what it names (its models belong beside the binary, `load_timeout_s` is what loading may take), "
    "or set `backend: facemesh`"
)
_REDIS_TIMEOUT_S = 3.0
_REDIS_PORT = 6379


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``absent`` does no harm as configured, ``broken`` does; ``remedy`` says what to do."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine(args: AppArgs) -> Iterator[Finding]:
    """Look at all that the service needs when it is configured by ``args``; takes as long as OpenFace's start."""
    yield from _look_at_extractors(args.extractor)
    yield _look_at_ray()
    yield _look_at_device(args)
    yield _look_at_models(args)
    yield _look_at_folder("TEMP_DIR", args.extractor.openface.temp_dir)
    yield _look_at_folder("OUTPUT_DIR", args.ingress.output_dir)
    yield _look_at_redis(redis_url())


def _look_at_extractors(settings: ExtractorSettings) -> list[Finding]:
    """OpenFace and the face mesh: what the configured backend needs is broken if it does not work."""
    openface = _look_at_openface(settings, needed=settings.backend == "openface")
    mesh_needed = settings.backend == "facemesh" or (settings.backend == "auto" and openface.status != "ok")
    return [openface, _look_at_facemesh(settings, needed=mesh_needed)]


def _look_at_openface(settings: ExtractorSettings, *, needed: bool) -> Finding:
    try:
        binary = find_binary(settings.openface)
    except SetupError as exc:
        return _absence("openface", str(exc), "install OpenFace, or set `backend: facemesh`", needed=needed)
    try:
        seen = probe(binary, settings.openface)
    except OpenFaceUnusable as exc:
        return _look_at_cold(settings, binary, str(exc), needed=needed)
    except FrameError as exc:
        detail = f"{binary} started, and then failed on a frame: {exc}"
        return _absence("openface", detail, _OPENFACE_REMEDY, needed=needed)
    flags = " ".join((*FEATURE_FLAGS, *settings.openface.flags))
    detail = (
        f"{binary}, generation {seen.generation}: loads in {seen.load_s:.1f} s, {seen.frame_ms:.0f} ms a frame, "
        f"{seen.n_threads} threads, {seen.n_columns} columns by {flags}"
    )
    if seen.generation == "2.0" and "-aus" in settings.openface.flags:
        return Finding("openface", "broken", detail, "remove -aus: OpenFace 2.0 crashes with it on a single frame")
    return Finding("openface", "ok", detail)


def _look_at_cold(settings: ExtractorSettings, binary: Path, warm_failure: str, *, needed: bool) -> Finding:
    """An OpenFace that is there and does not start warm: the service runs it cold if that works."""
    try:
        ColdExtractor(settings, binary).close()
    except OpenFaceUnusable:
        return _absence("openface", warm_failure, _OPENFACE_REMEDY, needed=needed)
    detail = f"{binary} works only cold, a load of its models for each call: {warm_failure}"
    return Finding("openface", "ok", detail, "to be fast it needs a TEMP_DIR with FIFOs, and OpenCV with FFmpeg")


def _look_at_facemesh(settings: ExtractorSettings, *, needed: bool) -> Finding:
    try:
        weights = read_weights(settings.weights_dir)
    except SetupError as exc:
        return _absence("facemesh", str(exc), FETCH_COMMAND, needed=needed)
    return Finding("facemesh", "ok", f"{len(weights)} networks in {settings.weights_dir}")


def _look_at_ray() -> Finding:
    try:
        found = importlib.util.find_spec("ray.serve")
        version = importlib.metadata.version("ray")
    except ImportError as exc:  # PackageNotFoundError is one
        return Finding("ray", "broken", f"Ray cannot be imported: {exc}", "pip install 'ray[serve]'")
    if found is None:
        return Finding("ray", "broken", f"ray {version} has no Serve in it", "pip install 'ray[serve]'")
    return Finding("ray", "ok", f"ray {version}")


def _look_at_device(args: AppArgs) -> Finding:
    try:
        device = resolve_device(args.predictor.device)
    except SetupError as exc:
        return Finding("device", "broken", str(exc), "set `predictor: {device: auto}`")
    return Finding("device", "ok", f"the predictor computes on {device.type}")


def _look_at_models(args: AppArgs) -> Finding:
    models_dir = args.predictor.models_dir
    try:
        manifests = _load_models(ModelRegistry(models_dir))
    except SetupError as exc:
        return Finding("models", "broken", str(exc), "set MODELS_DIR, or install again")
    detail = ", ".join(f"{manifest.name}/{manifest.version} for {manifest.backend}" for manifest in manifests)
    backend = args.extractor.backend
    if backend != "auto" and all(manifest.backend != backend for manifest in manifests):
        return Finding("models", "broken", f"none in {models_dir} is for {backend}", "set MODELS_DIR, or train one")
    return Finding("models", "ok", f"{detail} in {models_dir}")


def _load_models(registry: ModelRegistry) -> list[Manifest]:
    """Load every model and its card, as the predictor does before it starts: a manifest alone proves little."""
    manifests = Detectors(registry, resolve_device("cpu")).manifests()
    for manifest in manifests:
        registry.load_card(manifest)
    return manifests


def _look_at_folder(name: str, folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free_gb = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize / 1e9
    except OSError as exc:
        return Finding(
            name, "broken", f"{folder} cannot be written: {exc.strerror}", f"set {name} to a writable folder"
        )
    return Finding(name, "ok", f"{folder}, {free_gb:.1f} GB free")


def _look_at_redis(url: str | None) -> Finding:
    if url is None:
        return Finding("redis", "absent", "REDIS_URL is not set: nothing is shared between clusters")
    try:
        parts = urlsplit(url)
        address = (parts.hostname or "localhost", parts.port or _REDIS_PORT)
    except ValueError:  # whose words may be a part of the password
        return Finding("redis", "broken", "REDIS_URL is no URL", "make it redis://[:PASSWORD@]HOST[:PORT]")
    where = f"{address[0]}:{address[1]}"  # the URL may hold a password
    if parts.scheme != "redis":
        return Finding("redis", "broken", f"{where}: this check speaks redis:// only", "test it with redis-cli --tls")
    try:
        answer = _ping(address, parts.username, parts.password)
    except OSError as exc:
        return Finding("redis", "broken", f"{where} does not answer: {exc}", "start it, or correct REDIS_URL")
    if not answer.endswith(b"+PONG\r\n"):
        return Finding("redis", "broken", f"{where} answers {answer[:60]!r}", "correct the password in REDIS_URL")
    return Finding("redis", "ok", where)


def _ping(address: tuple[str, int], user: str | None, password: str | None) -> bytes:
    with socket.create_connection(address, timeout=_REDIS_TIMEOUT_S) as connection:
        if password is not None:
            connection.sendall(_command("AUTH", *([unquote(user)] if user else []), unquote(password)))
        connection.sendall(_command("PING") + _command("QUIT"))
        answer = b"".join(iter(lambda: connection.recv(1024), b""))
    return answer.removesuffix(b"+OK\r\n")


def _command(*words: str) -> bytes:
    """A Redis command, its words counted: a password may hold anything."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _absence(name: str, detail: str, remedy: str, *, needed: bool) -> Finding:
    return Finding(name, "broken" if needed else "absent", detail, remedy)
