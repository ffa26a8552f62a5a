"""The deployment graph. Capacity (replicas, CPUs, GPUs, autoscaling) stands in ``configs/``, not here."""

# No `from __future__ import annotations`: Serve reads build_app's annotation to validate `args:`.
from ray import serve
from ray.serve import Application

from deployments.extractor import Extractor
from deployments.ingress import Ingress
from deployments.parser import CsvParser
from deployments.predictor import Predictor
from serve_app.settings import AppArgs


def build_app(args: AppArgs) -> Application:
    """Compose Ingress -> Extractor -> CsvParser -> Predictor; ``args`` is what a config's ``args:`` holds."""
    extractor = serve.deployment(name="Extractor")(Extractor).bind(args.extractor)
    parser = serve.deployment(name="CsvParser")(CsvParser).bind(args.parser)
    predictor = serve.deployment(name="Predictor")(Predictor).bind(args.predictor)
    ingress = serve.deployment(name="Ingress")(serve.ingress()(Ingress))
    openface_binary = args.extractor.openface.binary or args.ingress.openface_binary
    settings = args.ingress.model_copy(update={"openface_binary": openface_binary})  # for /health
    return ingress.bind(settings, extractor, parser, predictor)
