"""The CsvParser deployment: OpenFace CSVs to feature rows."""

from deployments.logs import log_through_serve
from serve_app.errors import FrameError
from serve_app.features.table import FaceFeatures, read_faces
from serve_app.settings import ParserSettings


class CsvParser:
    """Parses CSVs as bytes, so that it may run on another node than the extractor."""

    def __init__(self, settings: ParserSettings) -> None:
        log_through_serve()
        self._settings = settings

    async def parse(self, csvs: list[bytes]) -> list[FaceFeatures | FrameError]:
        """Parse each CSV; a frame's failure is a value in its slot."""
        return read_faces(csvs, min_confidence=self._settings.min_confidence)
