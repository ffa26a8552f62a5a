"""What the routes stand on: the pipeline, and what is known of the deployments behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_app.admission import Admission
from serve_app.errors import UnknownModel
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
        """Describe one loaded model.

        Raises:
            UnknownModel: no model of that name is loaded; the message lists those that are.
        """
        models = {model.name: model for model in await self.models.get()}
        if name not in models:
            raise UnknownModel(f"no model is named {name[:64]!r}; loaded: {', '.join(sorted(models)) or 'none'}")
        return models[name]
