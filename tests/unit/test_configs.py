"""The configs: Serve ignores a misspelt key silently, so each key is held against its schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve._private import constants
from ray.serve.schema import ServeDeploySchema

from deployments.config import check_config
from serve_app.errors import SetupError
from serve_app.settings import AppArgs, PredictorUserConfig

CONFIGS_DIR = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(CONFIGS_DIR.glob("*.yaml"))
DEPLOYMENTS = {"Ingress", "Extractor", "CsvParser", "Predictor"}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.name)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return content


def test_serve_knows_every_key_and_takes_every_value(config: dict[str, Any]) -> None:
    """A typing error would be dropped without a word."""
    check_config(config)


@pytest.mark.parametrize(
    "options",
    [
        {"num_replicas": "auto", "autoscaling_config": {"min_replicas": 3}},
        {"num_replicas": "auto"},
        {"ray_actor_options": {"runtime_env": {"nsight": "default", "pip": ["six"]}}},
        {"autoscaling_config": {"min_replicas": 0, "max_replicas": 2, "initial_replicas": 1}, "num_replicas": None},
        {"request_router_config": {"initial_backoff_s": 0.1}},
    ],
)
def test_what_serve_takes_is_taken(options: dict[str, Any]) -> None:
    """A config that is none of ours, too."""
    deploy = yaml.safe_load((CONFIGS_DIR / "dev.yaml").read_text())
    deploy["applications"][0]["deployments"][1] = {"name": "Extractor", **options}
    check_config(deploy)


def test_a_plugin_of_rays_may_know_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named in a variable of Ray's."""
    deploy = yaml.safe_load((CONFIGS_DIR / "dev.yaml").read_text())
    deploy["applications"][0]["runtime_env"]["our_plugin"] = {}
    with pytest.raises(SetupError, match="our_plugin"):
        check_config(deploy)
    monkeypatch.setenv("RAY_RUNTIME_ENV_PLUGINS", "[]")
    check_config(deploy)


Change = Callable[[dict[str, Any], dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda _, app: app["deployments"][1].update(num_replica=2),
            "knows no applications.deployments.num_replica",
        ),
        (lambda _, app: app["deployments"][0]["ray_actor_options"].update(num_cpu=1), "ray_actor_options.num_cpu"),
        (lambda deploy, _: deploy["http_options"].update(prot=1), "Serve knows no http_options.prot"),
        (lambda deploy, _: deploy.update(http_option={}), "Serve knows no http_option"),
        (lambda _, app: app["runtime_env"].update(env_var={}), "Ray knows no applications.runtime_env.env_var"),
        (lambda _, app: app["runtime_env"]["env_vars"].update(X=1), r"must be of type Dict\[str, str\]"),
        (lambda _, app: app["deployments"].append({"name": "Ingress"}), "the deployment Ingress is there 2 times"),
        (lambda _, app: app.update(deployments=["x"]), "'str' object has no attribute"),
        (lambda _, app: app.update(deployments=None), "applications.0.deployments: "),
        (lambda _, app: app.pop("import_path"), "applications.0.import_path: Field required"),
        (lambda _, app: app["deployments"][1].update(num_replicas=0), "greater than 0"),
        (lambda deploy, _: deploy["logging_config"].update(log_level="LOUD"), "LOUD"),
        (lambda deploy, _: deploy.update(grpc_options={"prot": 9000}), "Serve knows no grpc_options.prot"),
        (
            lambda _, app: app["deployments"][1].update(num_replicas=None, autoscaling_config={"min_replicas": 3}),
            r"max_replicas \(1\) must be",
        ),
        (lambda _, app: app["deployments"][1].update(request_router_config={"initial_backoff_s": -1}), "initial"),
        (
            lambda _, app: app["deployments"][1].update(request_router_config={"request_router_class": "no.such:C"}),
            "No module named 'no'",
        ),
        (
            lambda _, app: app["deployments"][1]["ray_actor_options"].update(runtime_env={"env_vars": {"A": 1}}),
            r"Dict\[str, str\]",
        ),
    ],
)
def test_what_serve_would_drop_or_refuse_is_said(change: Change, fault: str) -> None:
    """Before Ray is started, in one line."""
    deploy = yaml.safe_load((CONFIGS_DIR / "dev.yaml").read_text())
    change(deploy, deploy["applications"][0])
    with pytest.raises(SetupError, match=fault):
        check_config(deploy)


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
    for deployment in config["applications"][0]["deployments"]:
        PredictorUserConfig.model_validate(deployment.get("user_config", {}))  # no other deployment has one


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
