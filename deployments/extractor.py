"""The Extractor deployment: images to OpenFace CSVs; many CPU replicas."""

from deployments.logs import log_through_serve
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.extractors.worker import ExtractionWorker
from serve_app.pipeline import Extraction
from serve_app.settings import Backend, ExtractorSettings


class Extractor:
    """One extractor, kept loaded; a second call waits in the replica so that it never idles between two."""

    def __init__(self, settings: ExtractorSettings) -> None:
        log_through_serve()
        self._worker = ExtractionWorker(FaceMeshExtractor(settings))

    async def extract(self, images: list[bytes]) -> Extraction:
        """Extract each image; a frame's failure is a value in its slot."""
        return Extraction(self._worker.backend, await self._worker.extract(images))

    async def backend(self) -> Backend:
        """Name what computes the features here."""
        return self._worker.backend
