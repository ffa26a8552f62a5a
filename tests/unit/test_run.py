"""``serve run`` with a status that a supervisor can go by."""

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from deployments import run

DEV = Path(__file__).parents[2] / "configs" / "dev.yaml"


@pytest.fixture
def serve_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    """Runs a config with a Ray that starts at once, and with this in the place of ``serve run``; returns its status."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ended(
        serving: Callable[[list[str]], None], config: Path = DEV, start_ray: Callable[..., None] = lambda **_: None
    ) -> object:
        monkeypatch.setattr(sys, "argv", ["run", str(config)])
        monkeypatch.setattr("ray.init", start_ray)
        monkeypatch.setattr(run, "_watch_start", lambda *_: None)
        monkeypatch.setattr(run, "cli", serving)
        with pytest.raises(SystemExit) as caught:
            run.main()
        return caught.value.code

    yield ended
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_what_serve_refuses_is_a_failure(serve_run: Callable[..., object]) -> None:
    """It says why, and ends as if all were well: a supervisor would not start it again."""
    assert serve_run(lambda _: sys.exit()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_none(serve_run: Callable[..., object], number: signal.Signals) -> None:
    """Serve shuts down, whichever signal says so."""

    def serving(_: list[str]) -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        sys.exit()

    assert not serve_run(serving)


def test_a_config_with_a_slip_is_said_before_ray_starts(serve_run: Callable[..., object], tmp_path: Path) -> None:
    """In one line."""
    config = tmp_path / "config.yaml"
    config.write_text(DEV.read_text().replace("num_replicas: 2", "num_replica: 2"))
    status = serve_run(lambda _: pytest.fail("it was run"), config)
    assert status == "error: the config is not valid: Serve knows no applications.deployments.num_replica"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_serve_starts_is_an_interruption(serve_run: Callable[..., object], number: signal.Signals) -> None:
    """Serve's command calls it a failure."""

    def starting(_: list[str]) -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        sys.exit(1)

    assert serve_run(starting) == 130


def test_a_stop_while_ray_starts_is_an_interruption(serve_run: Callable[..., object]) -> None:
    """And no traceback."""

    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    assert serve_run(lambda _: pytest.fail("it was run"), start_ray=interrupt) == 130


@pytest.mark.parametrize(
    ("args", "url"),
    [
        ({}, "http://127.0.0.1:8001"),
        ({"args": {"ingress": {"listen": {"host": "::1", "port": 9000}}}}, "http://[::1]:9000"),
    ],
)
def test_where_the_service_answers_is_said(
    args: dict[str, object], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once every deployment runs: the log ends in a network's own words otherwise."""
    there = SimpleNamespace(status="RUNNING", last_deployed_time_s=math.inf)
    monkeypatch.setattr("ray.serve.status", lambda: SimpleNamespace(applications={"deepfake": there}))
    monkeypatch.setattr(run, "_POLL_S", 0)
    deploy = {"http_options": {"host": "127.0.0.1", "port": 8001}, "applications": [args]}
    run._watch_start(run._url(deploy), [], Event())
    assert capsys.readouterr().err == f"the service answers at {url}\n"
