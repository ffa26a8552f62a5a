"""What the routes stand on: the pipeline, and what is known of the deployments behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_app.admission import Admission
from serve_app.errors import BackendMismatch, UnknownModel
from serve_app.model_names import parse_model_name
from serve_app.pipeline import Pipeline
from serve_app.predictions import ModelDescription
from serve_app.remembered import Remembered
from serve_app.sessions import SessionStore
from serve_app.settings import Backend, IngressSettings


@dataclass(frozen=True)
class ClusterStatus:
    """Running replicas by deployment."""

    replicas: Mapping[str, int]

    @property
    def ready(self) -> bool:
        """Whether a request can be answered: every deployment has a running replica."""
        return bool(self.replicas) and all(self.replicas.values())


@dataclass(frozen=True)
class Service:
    """Everything that a route may call."""

    settings: IngressSettings
    pipeline: Pipeline
    admission: Admission
    sessions: SessionStore
    models: Remembered[Sequence[ModelDescription]]
    backend: Remembered[Backend]
    cluster: Remembered[ClusterStatus]

    async def model(self, name: str) -> ModelDescription:
        """Describe the model that scores here under that name, ``NAME`` or ``NAME@VERSION``.

        Raises:
            UnknownModel: no such model is loaded; the message lists those that are.
            BackendMismatch: it was trained on another extractor's features only.
        """
        named, backend = await self._named(name), await self.backend.latest()
        fitting = [model for model in named if model.backend == backend]
        if not fitting:
            trained_on = " and ".join(sorted({model.backend for model in named}))
            raise BackendMismatch(f"model {name} was trained on {trained_on} features, the extractor here is {backend}")
        return max(fitting, key=lambda model: model.version)

    async def known_model(self, name: str) -> ModelDescription:
        """Describe a model as ``model`` does, but one that is named with its version whatever it was trained on."""
        if parse_model_name(name).version is None:
            return await self.model(name)
        [described] = await self._named(name)
        return described

    async def _named(self, name: str) -> list[ModelDescription]:
        models = await self.models.get()
        wanted = parse_model_name(name)
        named = [model for model in models if wanted.means(model.name, model.version)]
        if not named:
            known = ", ".join(f"{model.name}@{model.version}" for model in models)
            raise UnknownModel(f"no model is named {name[:64]!r}; loaded: {known or 'none'}")
        return named
