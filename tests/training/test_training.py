"""Training: deterministic, told epoch by epoch, and the same to the bit whether interrupted or not."""

from pathlib import Path

import pytest
import torch

from serve_app.errors import CheckpointUnusable
from serve_app.models.mixture import SIMULATED, Mixture, simulate_parts, unmixed
from serve_app.models.training import CheckpointFile, EpochReport, TrainingPlan, train_network

PLAN = TrainingPlan("facemesh", seed=5, epochs=3)


class PowerFailureError(Exception):
    """The machine is gone."""


@pytest.fixture(scope="module")
def rows() -> Mixture:
    return unmixed(simulate_parts("facemesh", 5, 100), SIMULATED)


def power_off_after(epoch: int, path: Path, rows: Mixture) -> None:
    def on_epoch(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise PowerFailureError

    with pytest.raises(PowerFailureError):
        train_network(PLAN, rows, checkpoint=CheckpointFile(path), on_epoch=on_epoch)


def test_progress_is_told_epoch_by_epoch(rows: Mixture) -> None:
    """With the loss going down."""
    reports: list[EpochReport] = []
    train_network(PLAN, rows, on_epoch=reports.append)
    assert [(report.epoch, report.epochs) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert reports[-1].loss < reports[0].loss


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    epoch: int, rows: Mixture, tmp_path: Path
) -> None:
    """To the bit: weights, batch statistics, and what it reports on the way."""
    expected_reports, reports = list[EpochReport](), list[EpochReport]()
    expected = train_network(PLAN, rows, on_epoch=expected_reports.append).state_dict()
    power_off_after(epoch, tmp_path / "checkpoint", rows)
    resumed = CheckpointFile(tmp_path / "checkpoint", is_resumed=True)
    state = train_network(PLAN, rows, checkpoint=resumed, on_epoch=reports.append).state_dict()
    assert reports == expected_reports[epoch:]
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_a_checkpoint_of_another_training_is_refused(rows: Mixture, tmp_path: Path) -> None:
    """Another seed, or other rows: half of each would be neither."""
    power_off_after(1, tmp_path / "checkpoint", rows)
    resumed = CheckpointFile(tmp_path / "checkpoint", is_resumed=True)
    with pytest.raises(CheckpointUnusable, match="other flags or other rows"):
        train_network(TrainingPlan("facemesh", seed=6, epochs=3), rows, checkpoint=resumed)
    others = unmixed(simulate_parts("facemesh", 6, 100), SIMULATED)
    with pytest.raises(CheckpointUnusable, match="other flags or other rows"):
        train_network(PLAN, others, checkpoint=resumed)


def test_a_missing_checkpoint_is_a_typed_error(rows: Mixture, tmp_path: Path) -> None:
    """Nobody finds out after an hour that it began anew."""
    with pytest.raises(CheckpointUnusable, match="no checkpoint at"):
        train_network(PLAN, rows, checkpoint=CheckpointFile(tmp_path / "checkpoint", is_resumed=True))


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", b"\x10" + bytes(7) + b'{"a":{"b":"c"}} '])
def test_a_damaged_checkpoint_is_a_typed_error(damage: bytes, rows: Mixture, tmp_path: Path) -> None:
    """It is not read halfway."""
    (tmp_path / "checkpoint").write_bytes(damage)
    with pytest.raises(CheckpointUnusable, match="no whole checkpoint"):
        train_network(PLAN, rows, checkpoint=CheckpointFile(tmp_path / "checkpoint", is_resumed=True))


def test_a_checkpoint_is_never_half_written(rows: Mixture, tmp_path: Path) -> None:
    """It takes the place of the last one at once, and leaves nothing else behind."""
    power_off_after(2, tmp_path / "checkpoint", rows)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_that_cannot_be_written_is_named(rows: Mixture, tmp_path: Path) -> None:
    """Here a file stands in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/checkpoint cannot be written: "):
        train_network(PLAN, rows, checkpoint=CheckpointFile(tmp_path / "file" / "checkpoint"))
