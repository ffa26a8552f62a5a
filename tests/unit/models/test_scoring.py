"""ScoringNet: the same logits as the network that was trained."""

import numpy as np
import pytest
import torch

from serve_app.models.network import DeepfakeNet
from serve_app.models.registry import ModelRegistry
from serve_app.models.runtimes import load_network
from serve_app.models.scoring import ScoringNet
from serve_app.models.simulation import SimulatedRows
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR


@pytest.fixture(scope="module")
def network() -> DeepfakeNet:
    """The shipped one for the face mesh, as it was trained."""
    registry = ModelRegistry(PRETRAINED_DIR)
    manifest = registry.load_manifest(DEFAULT_MODEL, 1)
    return load_network(manifest, registry.load_weights(manifest)).eval()


@torch.inference_mode()
@pytest.mark.parametrize("n_rows", [1, 2, 300])
def test_the_logits_are_the_networks(network: DeepfakeNet, fresh_rows: SimulatedRows, n_rows: int) -> None:
    """Of faces, to what float32 resolves, for every number of rows."""
    rows = torch.from_numpy(fresh_rows.features[:n_rows])
    assert len(rows) == n_rows
    torch.testing.assert_close(ScoringNet(network)(rows), network(rows), atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_far_from_faces_the_logits_are_the_networks_too(network: DeepfakeNet) -> None:
    """Where every input is at its limit."""
    rows = torch.from_numpy(np.random.default_rng(0).normal(0.0, 50.0, (40, 674)).astype(np.float32))
    torch.testing.assert_close(ScoringNet(network)(rows), network(rows), atol=1e-4, rtol=1e-5)


def test_the_network_is_left_as_it_was() -> None:
    """Training may go on with it."""
    network = DeepfakeNet("facemesh").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    scoring = ScoringNet(network)
    assert not any(isinstance(layer, torch.nn.BatchNorm1d | torch.nn.Conv1d) for layer in scoring.modules())
    assert not any(layer.training for layer in scoring.modules())
    assert all(layer.training for layer in network.modules())
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)


def test_a_layer_without_a_product_is_refused() -> None:
    """It would silently be left out."""
    network = DeepfakeNet("facemesh")
    network.stem.append(torch.nn.GELU())
    with pytest.raises(TypeError, match="GELU"):
        ScoringNet(network)
