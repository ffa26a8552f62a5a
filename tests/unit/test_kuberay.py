"""The manifests for Kubernetes: they agree with the config, the image, the settings and each other."""

import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import yaml

from serve_app.settings import PipelineSettings

ROOT = Path(__file__).parents[2]
KUBERAY = ROOT / "deploy" / "kuberay"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROD_TEXT = (ROOT / "configs" / "prod.yaml").read_text()
PROD = yaml.safe_load(PROD_TEXT)
BASE = KUBERAY / "base"
SERVICE = yaml.safe_load((BASE / "rayservice.yaml").read_text())["spec"]
CLUSTER = SERVICE["rayClusterConfig"]
GROUPS = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
PODS = [CLUSTER["headGroupSpec"]["template"], *(group["template"] for group in GROUPS.values())]
CONTAINERS = [
    container for pod in PODS for part in ("initContainers", "containers") for container in pod["spec"].get(part, [])
]
WORKERS = [group["template"]["spec"]["containers"][0] for group in GROUPS.values()]
REFERENCES = {"configMapRef": "ConfigMap", "persistentVolumeClaim": "PersistentVolumeClaim"}


def resources() -> dict[tuple[str, str], dict[str, Any]]:
    """Every object that the kustomization lists, by kind and name."""
    files = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    objects = [content for file in files for content in yaml.safe_load_all((BASE / file).read_text())]
    return {(content["kind"], content["metadata"]["name"]): content for content in objects}


def references(node: Any) -> set[tuple[str, str]]:
    """Every (kind, name) that is referred to below ``node``."""
    if isinstance(node, list):
        return {found for child in node for found in references(child)}
    if not isinstance(node, dict):
        return set()
    here = {(kind, name) for key, kind in REFERENCES.items() for name in node.get(key, {}).values()}
    account = {("ServiceAccount", node["serviceAccountName"])} if "serviceAccountName" in node else set()
    return here | account | references(list(node.values()))


def deployment(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The named deployment's entry in a Serve config."""
    [entry] = [entry for entry in config["applications"][0]["deployments"] if entry["name"] == name]
    return dict(entry)


def test_the_serve_config_is_the_production_config() -> None:
    """To the letter, comments too. Copy configs/prod.yaml, indented by four, to where this fails."""
    assert (BASE / "rayservice.yaml").read_text().endswith("  serveConfigV2: |\n" + indent(PROD_TEXT, "    "))


def test_the_openface_overlay_is_that_with_the_extractor_of_openface_yaml() -> None:
    """Nothing else differs."""
    overlay = yaml.safe_load((KUBERAY / "openface" / "serve-config.yaml").read_text())["spec"]["serveConfigV2"]
    openface = yaml.safe_load((ROOT / "configs" / "openface.yaml").read_text())
    expected = yaml.safe_load(PROD_TEXT)
    arguments, single = expected["applications"][0]["args"], openface["applications"][0]["args"]
    arguments["extractor"] = single["extractor"]
    arguments["ingress"] |= single.get("ingress", {})
    [extractor] = [entry for entry in expected["applications"][0]["deployments"] if entry["name"] == "Extractor"]
    extractor["graceful_shutdown_timeout_s"] = deployment(openface, "Extractor")["graceful_shutdown_timeout_s"]
    assert yaml.safe_load(overlay) == expected


def test_whatever_is_referred_to_is_in_the_kustomization() -> None:
    """Volumes, the ConfigMap, the service account; each is used, and none is missing."""
    found = references(SERVICE)
    assert found == {key for key in resources() if key[0] in {*REFERENCES.values(), "ServiceAccount"}}


def test_every_volume_mount_has_its_volume() -> None:
    """In its own pod."""
    for pod in PODS:
        spec = pod["spec"]
        mounts = [mount for container in spec["containers"] for mount in container.get("volumeMounts", [])]
        assert {mount["name"] for mount in mounts} == {volume["name"] for volume in spec.get("volumes", [])}


def test_policies_select_the_pods() -> None:
    """A selector that fits no pod protects nothing."""
    labels = [pod["metadata"]["labels"].items() for pod in PODS]
    for (kind, _), content in resources().items():
        if kind in {"NetworkPolicy", "PodDisruptionBudget"}:
            selector = content["spec"].get("selector") or content["spec"]["podSelector"]
            assert any(selector["matchLabels"].items() <= pod for pod in labels)


def test_only_the_service_is_open_to_other_pods() -> None:
    """The dashboard and the GCS run what they are sent: 8265 is for the operator, the rest for the pods themselves."""
    inside, operator, outside = resources()["NetworkPolicy", "deepfake-serve"]["spec"]["ingress"]
    assert inside["from"][0]["podSelector"]["matchLabels"].items() <= PODS[0]["metadata"]["labels"].items()
    assert [port["port"] for port in operator["ports"]] == [8265]
    assert "podSelector" in operator["from"][0]
    assert [port["port"] for port in outside["ports"]] == [PROD["http_options"]["port"]]


def test_the_ports_are_the_configs() -> None:
    """KubeRay makes the Service of the head's port named serve; the readiness probe asks the worker's."""
    heads = CLUSTER["headGroupSpec"]["template"]["spec"]["containers"]
    for container in [*heads, *WORKERS]:
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["serve"] == PROD["http_options"]["port"]
    assert [worker["readinessProbe"]["httpGet"] for worker in WORKERS] == [{"path": "/-/healthz", "port": "serve"}] * 2


def test_a_pod_that_is_to_go_lasts_as_long_as_its_requests() -> None:
    """The deadline, the replica's patience, Ray's drain with 30 s to start a replica elsewhere, the pod's grace."""
    environment = resources()["ConfigMap", "deepfake-serve"]["data"]
    drain_s = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    patience_s = deployment(PROD, "Ingress")["graceful_shutdown_timeout_s"]
    assert PipelineSettings().deadline_s < patience_s <= drain_s - 30
    assert [group["template"]["spec"]["terminationGracePeriodSeconds"] > drain_s for group in GROUPS.values()] == [
        True
    ] * 2


def test_no_container_runs_as_root_or_without_limits() -> None:
    """None may gain privileges, either."""
    for pod in PODS:
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
    for container in CONTAINERS:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


def test_the_groups_have_room_for_every_replica() -> None:
    """Of the most that each deployment may scale to."""
    entries = PROD["applications"][0]["deployments"]
    most = {entry["name"]: entry["autoscaling_config"]["max_replicas"] for entry in entries}
    cpus = sum(most[entry["name"]] * entry["ray_actor_options"]["num_cpus"] for entry in entries)
    gpus = sum(most[entry["name"]] * entry["ray_actor_options"].get("num_gpus", 0) for entry in entries)
    assert capacity("cpu") >= cpus
    assert capacity("nvidia.com/gpu") >= gpus


def capacity(resource: str) -> float:
    """What the worker groups have of a resource when they are at their largest."""
    limits = [worker["resources"]["limits"].get(resource, 0) for worker in WORKERS]
    return sum(float(limit) * int(group["maxReplicas"]) for limit, group in zip(limits, GROUPS.values(), strict=True))


@pytest.mark.parametrize("variable", ["TEMP_DIR", "OUTPUT_DIR", "MODELS_DIR"])
def test_folders_are_mounted_where_the_environment_says(variable: str) -> None:
    """In the pods that write or read them."""
    folder = resources()["ConfigMap", "deepfake-serve"]["data"][variable]
    mounts = [mount["mountPath"] for mount in WORKERS[-1]["volumeMounts"]]
    assert folder in mounts


def test_the_image_is_what_the_dockerfile_makes() -> None:
    """Its names, its user, its folders, its Ray."""
    tags = set(re.findall(r"-t deepfake-serve:(\S+)", DOCKERFILE))
    overlays = [yaml.safe_load((KUBERAY / name / "kustomization.yaml").read_text()) for name in ("base", "openface")]
    assert {overlay["images"][0]["newTag"] for overlay in overlays} == tags
    assert {container["image"] for container in CONTAINERS} == {"deepfake-serve"}
    assert f"--uid {PODS[0]['spec']['securityContext']['runAsUser']} service" in DOCKERFILE
    assert f"ray=={CLUSTER['rayVersion']}" in (ROOT / "constraints.txt").read_text().split()
