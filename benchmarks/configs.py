"""The service's configs, changed for a benchmark: what it does not change is what users run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).parents[1] / "configs"
Deploy = dict[str, Any]
Change = Callable[[Deploy], None]


def changed(name: str, folder: Path, *changes: Change) -> Path:
    """Write the config of this name into ``folder`` with the changes made to it; return the file."""
    deploy: Deploy = yaml.safe_load((CONFIGS / name).read_text())
    for change in changes:
        change(deploy)
    path = folder / name
    path.write_text(yaml.safe_dump(deploy, sort_keys=False))
    return path


def on_one_machine(deploy: Deploy) -> None:
    """One proxy, no GPU, and of each deployment one small replica; the extractors are another change's matter."""
    deploy["proxy_location"] = "HeadOnly"
    for deployment in _deployments(deploy).values():
        _fix_replicas(deployment, 1, {"num_cpus": 0.1})


def with_extractors(n_replicas: int, **resources: object) -> Change:
    """Have a fixed number of extractors, each of which asks this of its node: ``num_cpus``, ``resources``."""
    return lambda deploy: _fix_replicas(_deployments(deploy)["Extractor"], n_replicas, resources)


def with_app(import_path: str, **args: object) -> Change:
    """Serve another application, with these arguments beside the config's own."""

    def change(deploy: Deploy) -> None:
        [app] = deploy["applications"]
        app["import_path"] = import_path
        app["args"] = {**app.get("args", {}), **args}

    return change


def with_args(consumer: str, **settings: object) -> Change:
    """Change the settings of one of the application's parts, such as ``ingress``."""

    def change(deploy: Deploy) -> None:
        [app] = deploy["applications"]
        args = app.setdefault("args", {})
        args[consumer] = {**args.get(consumer, {}), **settings}

    return change


def with_options(name: str, **options: object) -> Change:
    """Change what Serve is told of one deployment."""

    def change(deploy: Deploy) -> None:
        deployment = _deployments(deploy)[name]
        if "autoscaling_config" in options:
            deployment.pop("num_replicas", None)
        deployment.update(options)

    return change


def options_of(name: str, deployment: str) -> Mapping[str, Any]:
    """What a config tells Serve of one deployment."""
    return dict(_deployments(yaml.safe_load((CONFIGS / name).read_text()))[deployment])


def _fix_replicas(deployment: dict[str, Any], n_replicas: int, resources: Mapping[str, object]) -> None:
    for option in ("autoscaling_config", "max_replicas_per_node"):
        deployment.pop(option, None)
    deployment["num_replicas"] = n_replicas
    deployment["ray_actor_options"] = dict(resources)


def _deployments(deploy: Deploy) -> dict[str, dict[str, Any]]:
    [app] = deploy["applications"]
    return {deployment["name"]: deployment for deployment in app["deployments"]}
