"""The Python environment of the designs: their frameworks are no dependencies of ours."""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from serve_app.settings import cache_dir

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_INSTALL_TIMEOUT_S = 600


def environment_python() -> Path:
    """Return the environment's interpreter; the environment is made where there is none for these requirements.

    Raises:
        subprocess.CalledProcessError: pip could not install them; its output is on the terminal.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = cache_dir() / "designs" / f"{digest}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    ours = folder / "borrowed"  # written last: the environment is whole
    if not ours.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
        subprocess.run(install, check=True, timeout=_INSTALL_TIMEOUT_S)  # noqa: S603 - own argv
        ours.write_text(_borrow(folder))
    return python


def _borrow(folder: Path) -> str:
    """Let the environment find, behind its own packages, those of this interpreter: torch need not be there twice."""
    ours = sysconfig.get_path("purelib")
    theirs = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (theirs / "borrowed.pth").write_text(f"{ours}\n")
    return ours
