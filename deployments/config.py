"""A config held against Serve's own schema: what Serve would drop in silence, or refuse only after Ray has started."""

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from ray.runtime_env import RuntimeEnv
from ray.serve.config import (
    AutoscalingConfig,
    AutoscalingPolicy,
    DeploymentActorConfig,
    GangSchedulingConfig,
    RequestRouterConfig,
)
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
    gRPCOptionsSchema,
)

from serve_app.errors import SetupError
from serve_app.settings import has_ray_plugins

_SCHEMAS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "http_options": HTTPOptionsSchema,
        "grpc_options": gRPCOptionsSchema,
        "logging_config": LoggingConfig,
        "applications": ServeApplicationSchema,
        "deployments": DeploymentSchema,
        "autoscaling_config": AutoscalingConfig,
        "policy": AutoscalingPolicy,
        "gang_scheduling_config": GangSchedulingConfig,
        "deployment_actors": DeploymentActorConfig,
        "request_router_config": RequestRouterConfig,
        "ray_actor_options": RayActorOptionsSchema,
    }
)
_OF_RUNTIME_ENV = RuntimeEnv.known_fields | inspect.signature(RuntimeEnv).parameters.keys()


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
        elif key == "runtime_env" and isinstance(value, Mapping) and not has_ray_plugins():
            yield from (f"Ray knows no {where}{key}.{name}" for name in value if name not in _OF_RUNTIME_ENV)
        elif key in _SCHEMAS:
            for child in value if isinstance(value, list) else [value]:
                yield from _unknown_keys(child, _SCHEMAS[key], f"{where}{key}.")


def _repeated(deploy: Mapping[str, object]) -> Iterator[str]:
    """Name the deployments that stand there more than once: the last would count."""
    for application in _mappings(deploy.get("applications")):
        deployments = _mappings(application.get("deployments"))
        names = Counter(deployment["name"] for deployment in deployments if "name" in deployment)
        yield from (f"the deployment {name} is there {count} times" for name, count in names.items() if count > 1)


def _refusals(deploy: Mapping[str, object]) -> Iterator[str]:
    """Say what Serve and Ray would."""
    try:
        ServeDeploySchema.model_validate(deploy)
        for application in _mappings(deploy.get("applications")):
            _validate_runtime_env(application)
            for deployment in _mappings(application.get("deployments")):
                _validate_deployment(deployment)
    except ValidationError as exc:
        for error in exc.errors():
            yield f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
    except (AttributeError, ImportError, TypeError, ValueError) as exc:  # a mapping was expected; Ray's own
        yield str(exc)


def _validate_deployment(deployment: Mapping[str, Any]) -> None:
    """Validate what the schema takes as any mapping."""
    autoscaling = deployment.get("autoscaling_config")
    if autoscaling is not None:
        is_auto = deployment.get("num_replicas") == "auto"
        auto: Any = AutoscalingConfig.default  # untyped
        defaults = auto().model_dump(exclude_unset=True) if is_auto else {}
        AutoscalingConfig(**(defaults | autoscaling))
    RequestRouterConfig(**(deployment.get("request_router_config") or {}))
    _validate_runtime_env(deployment.get("ray_actor_options") or {})


def _validate_runtime_env(options: Mapping[str, Any]) -> None:
    RuntimeEnv(**(options.get("runtime_env") or {}))


def _mappings(nodes: object) -> Iterator[Mapping[str, object]]:
    if isinstance(nodes, list):
        yield from (node for node in nodes if isinstance(node, Mapping))
