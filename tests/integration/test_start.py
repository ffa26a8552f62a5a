"""A service that cannot start."""

from pathlib import Path

import pytest
import torch

from serve_app.addresses import free_port
from serve_app.errors import SetupError
from serve_app.launcher import running_service
from serve_app.settings import LaunchSettings
from tests.integration.conftest import CONFIGS, START_TIMEOUT_S


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is the device that is to be absent")
def test_a_deployment_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    """With a status that a supervisor sees, and its reason as the last thing said: there is no CUDA here."""
    config, log = tmp_path / "config.yaml", tmp_path / "log"
    config.write_text((CONFIGS / "dev.yaml").read_text().replace("device: cpu", "device: cuda"))
    launch = LaunchSettings(port=free_port())
    with (
        pytest.raises(SetupError, match="ended with status 1"),
        running_service(config, launch, log=log, start_timeout_s=START_TIMEOUT_S),
    ):
        pass
    assert "Predictor cannot start: serve_app.errors.DeviceUnavailable: device is cuda" in log.read_text()
