"""ScoringNet: the same logits as the network that was trained."""

import numpy as np
import pytest
import torch

from serve_app.models.network import DeepfakeNet
from serve_app.models.scoring import ScoringNet
from serve_app.models.simulation import SimulatedRows


@torch.inference_mode()
@pytest.mark.parametrize("n_rows", [1, 2, 300])
def test_the_logits_are_the_networks(trained_network: DeepfakeNet, fresh_rows: SimulatedRows, n_rows: int) -> None:
    """Of faces, to what float32 resolves, for every number of rows."""
    rows = torch.from_numpy(fresh_rows.features[:n_rows])
    assert len(rows) == n_rows
    torch.testing.assert_close(ScoringNet(trained_network)(rows), trained_network(rows), atol=2e-5, rtol=1e-5)


@torch.inference_mode()
def test_far_from_faces_the_logits_are_the_networks_too(trained_network: DeepfakeNet) -> None:
    """Where every input is at its limit."""
    rows = torch.from_numpy(np.random.default_rng(0).normal(0.0, 50.0, (40, 674)).astype(np.float32))
    torch.testing.assert_close(ScoringNet(trained_network)(rows), trained_network(rows), atol=1e-4, rtol=1e-5)


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
