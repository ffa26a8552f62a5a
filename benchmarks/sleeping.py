"""The application with an extractor that sleeps: the cost of everything but extraction, without the CPUs for it."""

# No `from __future__ import annotations`: Serve reads build_app's annotation to validate `args:`.
from threading import Event
from typing import ClassVar

from ray import serve
from ray.serve import Application

from benchmarks.load import demo_frames
from deployments.extractor import Extractor
from deployments.ingress import Ingress
from deployments.parser import CsvParser
from deployments.predictor import Predictor
from deployments.router import ROUTING
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.extractors.worker import ExtractionWorker
from serve_app.frames import ExtractedFrame
from serve_app.settings import AppArgs, Backend, ExtractorSettings


class SleepingArgs(AppArgs):
    """The application's arguments, and how long a frame takes."""

    frame_s: float = 1.0


class Sleeper:
    """Answers every frame after ``frame_s`` seconds with the CSV of one face."""

    backend: ClassVar[Backend] = "facemesh"

    def __init__(self, frame_s: float, csv: bytes) -> None:
        self._frame_s = frame_s
        self._csv = csv

    def extract(self, image: bytes, stop: Event | None = None) -> ExtractedFrame:
        """Sleep, unless nobody waits any more."""
        (stop or Event()).wait(self._frame_s)
        return ExtractedFrame(self._csv, orientation=1)

    def check(self) -> None:
        """Sleep never fails."""

    def close(self) -> None:
        """Nothing was started."""


class SleepingExtractor(Extractor):
    """The Extractor deployment around a Sleeper."""

    def __init__(self, frame_s: float, csv: bytes) -> None:
        self._worker = ExtractionWorker(Sleeper(frame_s, csv))


def build_app(args: SleepingArgs) -> Application:
    """Compose the graph of ``serve_app.app``, with the sleeping extractor in it."""
    csv = FaceMeshExtractor(ExtractorSettings()).extract(demo_frames(n_frames=1)[0]).csv
    sleeping = serve.deployment(name="Extractor", request_router_config=ROUTING)(SleepingExtractor)
    extractor = sleeping.bind(args.frame_s, csv)
    parser = serve.deployment(name="CsvParser", request_router_config=ROUTING)(CsvParser).bind(args.parser)
    predictor = serve.deployment(name="Predictor", request_router_config=ROUTING)(Predictor).bind(args.predictor)
    ingress = serve.deployment(name="Ingress")(serve.ingress()(Ingress))
    return ingress.bind(args.ingress, extractor, parser, predictor)
