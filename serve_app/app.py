"""The deployment graph. Capacity (replicas, CPUs, GPUs, autoscaling) stands in ``configs/``, not here."""

# No `from __future__ import annotations`: Serve reads build_app's annotation to validate `args:`.
from ray import serve
from ray.serve import Application

from deployments.extractor import Extractor
from deployments.ingress import Ingress
from deployments.parser import CsvParser
from deployments.predictor import Predictor
from deployments.router import ROUTING
from serve_app.settings import AppArgs


def build_app(args: AppArgs) -> Application:
    """Compose Ingress -> Extractor -> CsvParser -> Predictor; ``args`` is what a config's ``args:`` holds."""
    extractor = serve.deployment(name="Extractor", request_router_config=ROUTING)(Extractor).bind(args.extractor)
    parser = serve.deployment(name="CsvParser", request_router_config=ROUTING)(CsvParser).bind(args.parser)
    predictor = serve.deployment(name="Predictor", request_router_config=ROUTING)(Predictor).bind(args.predictor)
    ingress = serve.deployment(name="Ingress")(serve.ingress()(Ingress))
    openface_binary = args.extractor.openface.binary or args.ingress.openface_binary
    settings = args.ingress.model_copy(update={"openface_binary": openface_binary})  # for /health
    return ingress.bind(settings, extractor, parser, predictor)
