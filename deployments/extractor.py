"""The Extractor deployment: images to OpenFace CSVs; many CPU replicas."""

from deployments.logs import log_through_serve
from serve_app.extractors.backends import make_extractor
from serve_app.extractors.worker import ExtractionWorker
from serve_app.pipeline import Extraction
from serve_app.settings import Backend, ExtractorSettings


class Extractor:
    """One extractor, kept loaded; a second call waits in the replica so that it never idles between two."""

    def __init__(self, settings: ExtractorSettings) -> None:
        log_through_serve()
        self._worker = ExtractionWorker(make_extractor(settings))

    async def extract(self, images: list[bytes]) -> Extraction:
        """Extract each image; a frame's failure is a value in its slot."""
        frames = await self._worker.extract(images)
        return Extraction(self._worker.backend, frames, self._worker.frame_s)

    async def backend(self) -> Backend:
        """Name what computes the features here."""
        return self._worker.backend

    async def check_health(self) -> None:
        """Have Serve replace this replica when its extractor cannot be revived."""
        self._worker.check()

    def __del__(self) -> None:
        """End what the extractor has started; Serve calls this when it stops a replica."""
        if hasattr(self, "_worker"):
            self._worker.close()
