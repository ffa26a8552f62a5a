"""What a benchmark changes in a config, and what it leaves as users run it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import configs
from benchmarks.sleeping import SleepingArgs
from serve_app.launcher import read_args


def written(path: Path) -> dict[str, Any]:
    [app] = yaml.safe_load(path.read_text())["applications"]
    return {**app, "deployments": {deployment["name"]: deployment for deployment in app["deployments"]}}


def test_without_a_change_a_config_stays_as_it_is(tmp_path: Path) -> None:
    """Writing it again changes no value."""
    path = configs.changed("prod.yaml", tmp_path)
    assert yaml.safe_load(path.read_text()) == yaml.safe_load((configs.CONFIGS / "prod.yaml").read_text())


def test_extractors_are_fixed_in_number(tmp_path: Path) -> None:
    """Serve refuses a number beside an autoscaling_config; how calls are routed stays."""
    before = configs.options_of("prod.yaml", "Extractor")
    path = configs.changed("prod.yaml", tmp_path, configs.with_extractors(30, num_cpus=0, resources={"extractor": 1}))
    extractor = written(path)["deployments"]["Extractor"]
    assert (extractor["num_replicas"], "autoscaling_config" in extractor) == (30, False)
    assert extractor["ray_actor_options"] == {"num_cpus": 0, "resources": {"extractor": 1}}
    assert extractor["max_ongoing_requests"] == before["max_ongoing_requests"]


def test_on_one_machine_nothing_asks_for_a_gpu(tmp_path: Path) -> None:
    """Each deployment has one replica on a tenth of a CPU."""
    deployments = written(configs.changed("prod.yaml", tmp_path, configs.on_one_machine))["deployments"].values()
    assert {deployment["num_replicas"] for deployment in deployments} == {1}
    assert all(deployment["ray_actor_options"] == {"num_cpus": 0.1} for deployment in deployments)


def test_autoscaling_takes_the_place_of_a_number(tmp_path: Path) -> None:
    """The other way about."""
    change = configs.with_options("Extractor", autoscaling_config={"max_replicas": 4})
    extractor = written(configs.changed("dev.yaml", tmp_path, change))["deployments"]["Extractor"]
    assert ("num_replicas" in extractor, extractor["autoscaling_config"]) == (False, {"max_replicas": 4})


@pytest.mark.parametrize("name", ["dev.yaml", "prod.yaml"])
def test_settings_are_changed_beside_the_configs_own(name: str, tmp_path: Path) -> None:
    """One key is another, the rest of what build_app is given stays."""
    before = read_args(configs.CONFIGS / name)
    after = read_args(configs.changed(name, tmp_path, configs.with_args("ingress", output_dir="/elsewhere")))
    ingress = before.ingress.model_copy(update={"output_dir": Path("/elsewhere")})
    assert after == before.model_copy(update={"ingress": ingress})


def test_the_sleeping_application_takes_the_configs_arguments(tmp_path: Path) -> None:
    """And its own beside them."""
    path = configs.changed("prod.yaml", tmp_path, configs.with_app("benchmarks.sleeping:build_app", frame_s=0.25))
    app = written(path)
    assert app["import_path"] == "benchmarks.sleeping:build_app"
    assert SleepingArgs.model_validate(app["args"]).frame_s == 0.25
