"""``serve run`` as a program of this machine."""

import os
import socket
from pathlib import Path

import pytest
import yaml

from serve_app import launcher
from serve_app.addresses import free_port
from serve_app.errors import SetupError
from serve_app.settings import LaunchSettings

CONFIG = Path(__file__).parents[2] / "configs" / "dev.yaml"


@pytest.fixture
def fake_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``serve run`` that keeps its config and does what FAKE_SERVE says."""
    program = tmp_path / "serve"
    program.write_text('#!/bin/sh\ncp "$1" "$0.yaml"\neval "$FAKE_SERVE"\n')
    program.chmod(0o755)
    monkeypatch.setattr(launcher, "_SERVE", [str(program)])
    return program


def test_host_and_port_replace_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the config stays."""
    monkeypatch.setenv("HOST", "127.0.0.2")
    monkeypatch.setenv("PORT", "9100")
    rendered = yaml.safe_load(launcher.render_config(CONFIG, LaunchSettings()))
    assert (rendered["http_options"]["host"], rendered["http_options"]["port"]) == ("127.0.0.2", 9100)
    assert rendered["applications"] == yaml.safe_load(CONFIG.read_text())["applications"]


def test_without_them_the_config_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is none."""
    monkeypatch.setenv("HOST", "")
    monkeypatch.delenv("PORT", raising=False)
    assert yaml.safe_load(launcher.render_config(CONFIG, LaunchSettings())) == yaml.safe_load(CONFIG.read_text())


def test_empty_options_are_none(tmp_path: Path) -> None:
    """As a commented-out block leaves them."""
    (tmp_path / "config.yaml").write_text("applications: [{name: a}]\nhttp_options:\n")
    rendered = launcher.render_config(tmp_path / "config.yaml", LaunchSettings(port=9100))
    assert yaml.safe_load(rendered)["http_options"] == {"port": 9100}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "a: [",
        "just text",
        "{}",
        "applications: [x]",
        "applications: {a: 1}",
        "applications: [{}]\nhttp_options: 5",
    ],
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    """Absent, not YAML, not Serve's."""
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)
    with pytest.raises(SetupError, match=str(config)):
        launcher.render_config(config, LaunchSettings())


def test_a_lone_ingress_on_its_own_ray_needs_no_proxy() -> None:
    """It listens at the proxy's address; what else the config says stays."""
    port = free_port()
    rendered = yaml.safe_load(launcher.render_own(CONFIG, LaunchSettings(host="127.0.0.1", port=port)))
    committed = yaml.safe_load(CONFIG.read_text())
    assert rendered["proxy_location"] == "Disabled"
    args = rendered["applications"][0]["args"]
    assert args == committed["applications"][0]["args"] | {"ingress": {"listen": {"host": "127.0.0.1", "port": port}}}
    assert rendered["applications"][0]["deployments"] == committed["applications"][0]["deployments"]


@pytest.mark.parametrize(
    "change",
    [
        {"applications": [{"name": "a"}]},
        {"applications": [{"name": "a", "deployments": [{"name": "Ingress", "num_replicas": 2}]}]},
        {"applications": [{"name": "a", "deployments": [{"name": "Ingress", "autoscaling_config": {}}]}]},
        {
            "applications": [
                {"name": "a", "route_prefix": "/a", "deployments": [{"name": "Ingress", "num_replicas": 1}]}
            ]
        },
        {"http_options": {"ssl_keyfile": "key.pem"}},
    ],
)
def test_whatever_needs_the_proxy_keeps_it(tmp_path: Path, change: dict[str, object]) -> None:
    """Several ingress replicas, a path before all routes, TLS."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | change))
    launch = LaunchSettings(host="127.0.0.1", port=free_port())
    assert launcher.render_own(config, launch) == launcher.render_config(config, launch)


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the config's own words."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | {"http_options": {"port": "web"}}))
    with pytest.raises(SetupError, match="http_options"):
        launcher.render_own(config, LaunchSettings(port=None))


def test_a_taken_port_is_said_before_ray_is_started() -> None:
    """Two services would else share it in silence, each with half of the requests."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        launch = LaunchSettings(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(SetupError, match="set HOST or PORT"):
            launcher.run_in_place(CONFIG, launch)


def test_an_argument_that_there_is_not_is_said_before_ray_is_started(tmp_path: Path) -> None:
    """Ray would start for it, and log it among many lines."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text().replace("device: cpu", "devise: cpu"))
    with pytest.raises(SetupError, match="devise"):
        launcher.run_in_place(config, LaunchSettings(port=free_port()))


def test_running_in_place_becomes_serve(fake_serve: Path) -> None:
    """Checked in a child, for there is no way back."""
    child = os.fork()
    if child == 0:
        launcher.run_in_place(CONFIG, LaunchSettings(port=9100))
    assert os.waitpid(child, 0)[1] == 0
    assert yaml.safe_load(fake_serve.with_name("serve.yaml").read_text())["http_options"]["port"] == 9100


@pytest.mark.parametrize(("named", "taken"), [(None, "local"), ("auto", "auto")])
def test_it_joins_no_ray_but_the_one_that_was_named(
    fake_serve: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, taken: str
) -> None:
    """Left to itself Ray joins whichever was last started on the machine; there a proxy has to listen."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named:
        monkeypatch.setenv("RAY_ADDRESS", named)
    monkeypatch.setenv("FAKE_SERVE", 'echo $RAY_ADDRESS > "$0.ray"')
    child = os.fork()
    if child == 0:
        launcher.run_in_place(CONFIG, LaunchSettings(port=free_port()))
    assert os.waitpid(child, 0)[1] == 0
    assert fake_serve.with_name("serve.ray").read_text().strip() == taken
    rendered = yaml.safe_load(fake_serve.with_name("serve.yaml").read_text())
    assert (rendered["proxy_location"] == "Disabled") is (named is None)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("exit 3", "ended with status 3"),
        ("sleep 60", "not ready within"),
    ],
)
def test_a_service_that_does_not_start_is_said(
    fake_serve: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, behaviour: str, reason: str
) -> None:
    """The error names the log, and nothing is left running."""
    monkeypatch.setenv("FAKE_SERVE", f"exec sh -c '{behaviour}'")
    log = tmp_path / "log"
    launch = LaunchSettings(port=free_port())
    with (
        pytest.raises(SetupError, match=reason) as caught,
        launcher.running_service(CONFIG, launch, log=log, start_timeout_s=1.0),
    ):
        pass
    assert str(log) in str(caught.value)
