"""The choice of an extractor: the face mesh, OpenFace, or OpenFace where it works."""

import logging

from serve_app.errors import OpenFaceUnusable
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.extractors.openface.cold import ColdExtractor
from serve_app.extractors.openface.command import find_binary
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.extractors.worker import FrameExtractor
from serve_app.settings import ExtractorSettings

logger = logging.getLogger(__name__)


def make_extractor(settings: ExtractorSettings) -> FrameExtractor:
    """Load the backend that the settings name; ``auto`` is OpenFace, and the face mesh where that is not to be had.

    Raises:
        SetupError: the backend that was asked for cannot be loaded.
    """
    if settings.backend == "facemesh":
        return FaceMeshExtractor(settings)
    if settings.backend == "openface":
        return _load_openface(settings)
    try:
        return _load_openface(settings)
    except OpenFaceUnusable as exc:
        logger.warning("backend auto: the face mesh, because %s", exc)
        return FaceMeshExtractor(settings)


def _load_openface(settings: ExtractorSettings) -> FrameExtractor:
    """Load it warm, else cold; what is wrong with it both ways is told for the warm one.

    Cold is for good. Where the binary works cold, warm is therefore tried again first: it may have been killed or
    have run out of time, which has nothing to do with being warm.
    """
    binary = find_binary(settings.openface)
    try:
        return OpenFaceExtractor(settings, binary)
    except OpenFaceUnusable as warm_failure:
        try:
            ColdExtractor(settings, binary).close()  # also of its core, which the warm one takes
        except OpenFaceUnusable:
            raise warm_failure from None
    try:
        return OpenFaceExtractor(settings, binary)
    except OpenFaceUnusable as warm_failure:
        cold = ColdExtractor(settings, binary)
        logger.warning("OpenFace works only cold, which is slow: %s", warm_failure)
        return cold
