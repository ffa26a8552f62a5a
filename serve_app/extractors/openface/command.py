"""The FeatureExtraction binary: where it is, its command line, its environment."""

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from serve_app.errors import OpenFaceUnusable
from serve_app.settings import OpenFaceSettings, child_environment

FEATURE_FLAGS = ("-2Dfp", "-3Dfp", "-pdmparams", "-pose", "-gaze")
"""They write the 674 features; with none of them OpenFace would write everything it knows, videos included."""
USUAL_PLACES = (
    Path("/usr/local/bin/FeatureExtraction"),
    Path("/home/openface-build/build/bin/FeatureExtraction"),
    Path("/opt/OpenFace/build/bin/FeatureExtraction"),
    Path("/OpenFace/build/bin/FeatureExtraction"),
    Path("/usr/bin/FeatureExtraction"),
)
"""Where images that are published with OpenFace in them have it."""

# OpenCV's other ways to open a "video". They take a file's name for a pipeline or a numbered sequence, and
# open a FIFO a second time, which hangs.
_NAME_READERS = ("GSTREAMER", "CV_MJPEG", "INTEL_MFX", "V4L2", "FIREWIRE", "UEYE", "GPHOTO2", "OBSENSOR")
_IMAGE_READER = "CV_IMAGES"
_SETPRIV_TIMEOUT_S = 10


def find_binary(settings: OpenFaceSettings) -> Path:
    """Find the binary: as configured, else in the usual places.

    Raises:
        OpenFaceUnusable: it is in none of them, or cannot be executed.
    """
    candidates = (settings.binary,) if settings.binary else USUAL_PLACES
    for candidate in candidates:
        found = shutil.which(candidate)  # a bare name is looked for on PATH
        if found:
            return Path(found).resolve()  # it looks for its models beside the path it was started by
    looked = ", ".join(map(str, candidates))
    raise OpenFaceUnusable(f"no executable FeatureExtraction at {looked}; set OPENFACE_BINARY to its path")


def command_line(binary: Path, settings: OpenFaceSettings, slots: Sequence[str]) -> list[str]:
    """Return the argv that works through ``slots`` in the working directory; every name in it is ours."""
    inputs = [argument for slot in slots for argument in ("-f", slot)]
    model = ["-mloc", str(settings.model)] if settings.model else []
    return [*_dies_with_parent(), str(binary), *inputs, "-out_dir", ".", *model, *FEATURE_FLAGS, *settings.flags]


def environment(folder: Path, *, fifos: bool) -> dict[str, str]:
    """Return an environment without display, secrets or a home; an OpenCV without FFmpeg may read plain files."""
    switched_off = [*_NAME_READERS, _IMAGE_READER] if fifos else _NAME_READERS
    return {
        **child_environment(),
        **{f"OPENCV_VIDEOIO_PRIORITY_{reader}": "0" for reader in switched_off},
        "OPENBLAS_NUM_THREADS": "1",  # by their number some kernels differ in the last digit, pinned or not
        "OPENCV_LOG_LEVEL": "SILENT",  # it misses a Haar cascade that it does not use, once for every frame
        "HOME": str(folder),
    }


@cache
def _dies_with_parent() -> tuple[str, ...]:
    """Return what has the kernel kill the child when this process is killed; without it, the sweep ends it later."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", "KILL", "--")
    try:  # BusyBox's has no such option
        probe = subprocess.run([*prefix, "true"], capture_output=True, timeout=_SETPRIV_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if probe.returncode == 0 else ()
