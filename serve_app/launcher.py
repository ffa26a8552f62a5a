"""``serve run`` as a program of this machine: with HOST and PORT applied, in place or as a child."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import requests
import yaml
from pydantic import ValidationError

from serve_app.addresses import listening_socket
from serve_app.errors import SetupError, in_one_line
from serve_app.settings import AppArgs, LaunchSettings, ListenSettings, cache_dir, launch_environment

_SERVE = [sys.executable, "-m", "deployments.run"]
_SERVE_HOST, _SERVE_PORT = "0.0.0.0", 8000  # noqa: S104 - where Serve's proxy listens unless its config says
OWN_RAY = "local"  # what RAY_ADDRESS says to start one; without it, Ray joins whichever was last started here
_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.25


def render_config(config: Path, launch: LaunchSettings) -> str:
    """Return the config's YAML with the launch's host and port in it.

    Raises:
        SetupError: the file cannot be read, or is not a Serve config.
    """
    return str(yaml.safe_dump(_with_launch(_read(config), launch), sort_keys=False))


def render_own(config: Path, launch: LaunchSettings) -> str:
    """Return what ``render_config`` does, for a Ray of the service's own: there a lone ingress replica needs no proxy.

    It listens itself: docs/adr/0005.

    Raises:
        SetupError: as above, or its address is taken, or is not this machine's.
    """
    deploy = _with_launch(_read(config), launch)
    address = _address(deploy["http_options"])
    listening_socket(address).close()  # now, for Serve would find it out in half a minute, or share the port in silence
    if _needs_no_proxy(deploy):
        _listen_in_ingress(deploy, address)
    return str(yaml.safe_dump(deploy, sort_keys=False))


def read_args(config: Path) -> AppArgs:
    """Return what the config has for ``build_app``.

    Raises:
        SetupError: the file cannot be read, or holds an argument that there is not.
    """
    try:
        return AppArgs.model_validate(_read(config)["applications"][0].get("args") or {})
    except ValidationError as exc:
        raise SetupError(f"the config {config} is not valid: {in_one_line(exc)}") from exc


def run_in_place(config: Path, launch: LaunchSettings) -> NoReturn:
    """Become ``serve run``, so that signals and the exit status are its own.

    Raises:
        SetupError: as ``render_own``, or an argument in the config is none of this service's.
    """
    environment = {"RAY_ADDRESS": OWN_RAY} | launch_environment()
    read_args(config)
    content = _render(config, launch, environment["RAY_ADDRESS"])
    port = _address(yaml.safe_load(content)["http_options"]).port
    rendered = cache_dir() / f"run-{port}.yaml"  # in place of its last run's
    rendered.parent.mkdir(parents=True, exist_ok=True)
    rendered.write_text(content)
    os.execve(_SERVE[0], [*_SERVE, str(rendered)], environment)  # noqa: S606 - own argv, no shell


@contextmanager
def running_service(
    config: Path, launch: LaunchSettings, *, log: Path, start_timeout_s: float, ray_address: str = OWN_RAY
) -> Iterator[str]:
    """Run the service as a child; yield its base URL once it is ready, stop it at the end.

    It starts a Ray of its own unless ``ray_address`` names a running one, which then goes on without it.

    Raises:
        SetupError: it ended, or was not ready in time; its output is in ``log``.
    """
    url = f"http://127.0.0.1:{launch.port}"
    with tempfile.TemporaryDirectory(prefix="deepfake-serve-") as folder, log.open("wb") as output:
        rendered = Path(folder) / "config.yaml"
        rendered.write_text(_render(config, launch, ray_address))
        service = subprocess.Popen(  # noqa: S603 - own argv, no shell
            [*_SERVE, str(rendered)],
            env={**launch_environment(), "RAY_ADDRESS": ray_address},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_ready(service, url, log, start_timeout_s)
            yield url
        finally:
            _stop(service)


def _render(config: Path, launch: LaunchSettings, ray_address: str) -> str:
    return render_own(config, launch) if ray_address == OWN_RAY else render_config(config, launch)


def _with_launch(deploy: dict[str, Any], launch: LaunchSettings) -> dict[str, Any]:
    return deploy | {"http_options": (deploy.get("http_options") or {}) | launch.model_dump(exclude_none=True)}


def _address(http_options: dict[str, Any]) -> ListenSettings:
    try:
        return ListenSettings(
            host=http_options.get("host", _SERVE_HOST),
            port=http_options.get("port", _SERVE_PORT),
        )
    except ValidationError as exc:
        raise SetupError(f"http_options of the config are not valid: {in_one_line(exc)}") from exc


def _needs_no_proxy(deploy: dict[str, Any]) -> bool:
    """Whether all that is asked of Serve's proxy is to stand before one replica that stays one."""
    [application, *others] = deploy["applications"]
    ingresses = [entry for entry in application.get("deployments") or [] if entry.get("name") == "Ingress"]
    return (
        not others
        and [entry.get("num_replicas") for entry in ingresses] == [1]
        and application.get("route_prefix", "/") == "/"
        and deploy["http_options"].keys() <= {"host", "port", "request_timeout_s"}
    )


def _listen_in_ingress(deploy: dict[str, Any], address: ListenSettings) -> None:
    """Give the proxy's address to the ingress, and have no proxy."""
    application = deploy["applications"][0]
    args = application["args"] = application.get("args") or {}
    args["ingress"] = {"listen": address.model_dump()} | (args.get("ingress") or {})
    deploy["proxy_location"] = "Disabled"


def _read(config: Path) -> dict[str, Any]:
    try:
        deploy = yaml.safe_load(config.read_text())
    except (OSError, ValueError, yaml.YAMLError) as exc:  # ValueError: it is not in UTF-8
        raise SetupError(f"the config {config} cannot be read: {exc}") from exc
    if not isinstance(deploy, dict) or not _are_mappings(deploy.get("applications")):
        raise SetupError(f"the config {config} names no applications; see configs/dev.yaml")
    if not all(_are_mappings(entry.get("deployments") or [{}]) for entry in deploy["applications"]):
        raise SetupError(f"the deployments of the config {config} are no list of them; see configs/dev.yaml")
    if not isinstance(deploy.get("http_options") or {}, dict):
        raise SetupError(f"http_options of the config {config} are no options; see configs/dev.yaml")
    return deploy


def _are_mappings(entries: object) -> bool:
    return isinstance(entries, list) and bool(entries) and all(isinstance(entry, dict) for entry in entries)


def _await_ready(service: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise SetupError(f"the service ended with status {service.returncode} before it was ready; see {log}")
        try:
            if requests.get(f"{url}/readyz", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(_POLL_S)
    raise SetupError(f"the service was not ready within {timeout_s:g} s; see {log}")


def _stop(service: subprocess.Popen[bytes]) -> None:
    """End it and its Ray; kill the group if that takes too long."""
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
