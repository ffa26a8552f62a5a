"""A config held against Serve's own schema: what Serve would drop in silence, or refuse only after Ray has started."""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from ray.runtime_env import RuntimeEnv
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from serve_app.errors import SetupError

_SCHEMAS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "http_options": HTTPOptionsSchema,
        "logging_config": LoggingConfig,
        "applications": ServeApplicationSchema,
        "deployments": DeploymentSchema,
        "autoscaling_config": AutoscalingConfig,
        "request_router_config": RequestRouterConfig,
        "ray_actor_options": RayActorOptionsSchema,
    }
)


def check_config(deploy: Mapping[str, object]) -> None:
    """Hold a config against the schema; its ``args:`` are what ``build_app`` validates.

    Raises:
        SetupError: there is a key that Serve does not know, a deployment twice, or a value that it does not take.
    """
    faults = [*_unknown_keys(deploy, ServeDeploySchema, ""), *_repeated(deploy)] or list(_refusals(deploy))
    if faults:
        raise SetupError(f"the config is not valid: {'; '.join(faults)}")


def _unknown_keys(node: object, schema: type[BaseModel], where: str) -> Iterator[str]:
    """Name every key below ``node`` that its schema has no field for."""
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key not in schema.model_fields:
            yield f"Serve knows no {where}{key}"
        elif key == "runtime_env" and isinstance(value, Mapping):
            yield from (f"Ray knows no {where}{key}.{name}" for name in value if name not in RuntimeEnv.known_fields)
        elif key in _SCHEMAS:
            for child in value if isinstance(value, list) else [value]:
                yield from _unknown_keys(child, _SCHEMAS[key], f"{where}{key}.")


def _repeated(deploy: Mapping[str, object]) -> Iterator[str]:
    """Name the deployments that stand there more than once: the last would count."""
    for application in _mappings(deploy.get("applications")):
        names = Counter(str(deployment.get("name")) for deployment in _mappings(application.get("deployments")))
        yield from (f"the deployment {name} is there {count} times" for name, count in names.items() if count > 1)


def _refusals(deploy: Mapping[str, object]) -> Iterator[str]:
    """Say what Serve and Ray would."""
    try:
        ServeDeploySchema.model_validate(deploy)
        for application in _mappings(deploy.get("applications")):
            runtime_env: Any = application.get("runtime_env") or {}
            RuntimeEnv(**runtime_env)
    except ValidationError as exc:
        for error in exc.errors():
            yield f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
    except (AttributeError, TypeError, ValueError) as exc:  # a mapping was expected; RuntimeEnv's own
        yield str(exc)


def _mappings(nodes: object) -> Iterator[Mapping[str, object]]:
    if isinstance(nodes, list):
        yield from (node for node in nodes if isinstance(node, Mapping))
