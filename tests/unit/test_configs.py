"""The configs: Serve ignores a misspelt key silently, so each key is held against its schema."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError
from ray.serve._private import constants
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from serve_app.settings import AppArgs, PredictorUserConfig

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
NESTED: dict[str, type[BaseModel]] = {
    "http_options": HTTPOptionsSchema,
    "logging_config": LoggingConfig,
    "applications": ServeApplicationSchema,
    "deployments": DeploymentSchema,
    "autoscaling_config": AutoscalingConfig,
    "request_router_config": RequestRouterConfig,
    "ray_actor_options": RayActorOptionsSchema,
    "args": AppArgs,
    "user_config": PredictorUserConfig,  # no other deployment has one
}
DEPLOYMENTS = {"Ingress", "Extractor", "CsvParser", "Predictor"}


def unknown_keys(node: Any, schema: type[BaseModel], where: str) -> list[str]:
    """Every key below ``node`` that its schema has no field for."""
    unknown = []
    for key, value in node.items():
        if key not in schema.model_fields:
            unknown.append(f"{where}.{key}")
        elif key in NESTED:
            for child in value if isinstance(value, list) else [value]:
                unknown += unknown_keys(child, NESTED[key], f"{where}.{key}")
    return unknown


@pytest.fixture(params=CONFIGS, ids=lambda path: path.name)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return content


def test_every_key_is_one_that_serve_knows(config: dict[str, Any]) -> None:
    """A typing error would be dropped without a word."""
    assert unknown_keys(config, ServeDeploySchema, "") == []


def test_a_misspelt_key_is_found() -> None:
    """The check above can fail."""
    config = {"applications": [{"deployments": [{"name": "Extractor", "num_replicaz": 2}]}]}
    assert unknown_keys(config, ServeDeploySchema, "") == [".applications.deployments.num_replicaz"]


def test_every_variable_is_one_that_serve_reads(config: dict[str, Any]) -> None:
    """One that it does not know would be set in vain."""
    variables = config["applications"][0]["runtime_env"]["env_vars"]
    of_serve = {name for name in variables if name.startswith("RAY_SERVE_")}
    assert of_serve
    assert {name for name in of_serve if not hasattr(constants, name)} == set()


def test_serve_and_the_builder_accept_it(config: dict[str, Any]) -> None:
    """Values have the types and ranges that Serve and build_app ask for."""
    deploy = ServeDeploySchema.model_validate(config)
    AppArgs.model_validate(deploy.applications[0].args)


def test_every_deployment_of_the_graph_has_its_capacity_there(config: dict[str, Any]) -> None:
    """None runs on Serve's defaults unseen, none is named that does not exist."""
    assert {deployment["name"] for deployment in config["applications"][0]["deployments"]} == DEPLOYMENTS


def test_the_service_refuses_before_serve_queues(config: dict[str, Any]) -> None:
    """Admission answers problem+json; Serve's own limits stand behind it."""
    [application] = config["applications"]
    [ingress] = [entry for entry in application["deployments"] if entry["name"] == "Ingress"]
    assert AppArgs.model_validate(application["args"]).ingress.max_requests < ingress["max_ongoing_requests"]
    assert AppArgs().ingress.pipeline.deadline_s < config["http_options"]["request_timeout_s"]


def test_an_unknown_argument_is_refused() -> None:
    """Ours are strict at every level."""
    with pytest.raises(ValidationError, match="framez"):
        AppArgs.model_validate({"ingress": {"pipeline": {"framez": 1}}})
