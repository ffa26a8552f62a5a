"""What the routes stand on: the pipeline, and what is known of the deployments behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_app.admission import Admission
from serve_app.errors import BackendMismatch, UnknownModel
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
        """Describe the model of that name that was trained on the extractor which runs here.

        Raises:
            UnknownModel: no model of that name is loaded; the message lists those that are.
            BackendMismatch: it was trained on another extractor's features only.
        """
        models = await self.models.get()
        named = {model.backend: model for model in models if model.name == name}
        if not named:
            known = sorted({model.name for model in models})
            raise UnknownModel(f"no model is named {name[:64]!r}; loaded: {', '.join(known) or 'none'}")
        backend = await self.backend.get()
        if backend not in named:
            trained_on = " and ".join(sorted(named))
            raise BackendMismatch(f"model {name} was trained on {trained_on} features, the extractor here is {backend}")
        return named[backend]
