"""Why a score is what it is: contributions of the parts of a face."""

from itertools import product
from math import comb

import numpy as np
import numpy.typing as npt
import pytest
import torch

from serve_app.models import explanation
from serve_app.models.detector import Detector
from serve_app.models.explanation import contributions
from serve_app.models.network import DeepfakeNet
from serve_app.models.scoring import ScoringNet
from serve_app.models.simulation import FakeFamily, simulate
from serve_app.predictions import REASON_GROUPS

N_GROUPS = len(REASON_GROUPS)
Reasons = npt.NDArray[np.float32]  # (n_rows, n_groups)


@pytest.fixture
def network(trained_network: DeepfakeNet) -> ScoringNet:
    """The shipped one for the face mesh."""
    return ScoringNet(trained_network)


def fakes(family: FakeFamily, n_identities: int = 20) -> npt.NDArray[np.float32]:
    rows = simulate(31, n_identities, families=[family])
    return np.asarray(rows.features[rows.labels == 1])


def reasons_by_label(detector: Detector, family: FakeFamily) -> tuple[Reasons, Reasons]:
    """Why real rows, and the fakes made of them, have their scores."""
    rows = simulate(31, 10, backend=detector.manifest.backend, families=[family])
    reasons = detector.judge(rows.features, with_reasons=True).contributions
    assert reasons is not None
    return reasons[rows.labels == 0], reasons[rows.labels == 1]


def added_reasons(real: Reasons, fake: Reasons) -> dict[str, float]:
    """What fakes have more than the real rows they were made from, on average."""
    return dict(zip(REASON_GROUPS, (fake.mean(axis=0) - real.mean(axis=0)).tolist(), strict=True))


@torch.no_grad()
def test_contributions_sum_to_the_logit_less_a_typical_faces(network: ScoringNet) -> None:
    """Nothing is left over that no part explains."""
    points, measures = network.inputs(torch.from_numpy(fakes(FakeFamily.BLEND)))
    typical = network.classify(torch.zeros_like(points), torch.zeros_like(measures))
    gap = network.classify(points, measures) - typical - contributions(network, points, measures).sum(dim=1)
    assert gap.abs().max() < 1e-3


@torch.no_grad()
def test_contributions_come_close_to_exact_shapley_values(network: ScoringNet) -> None:
    """Which take all 256 sets of parts."""
    points, measures = network.inputs(torch.from_numpy(fakes(FakeFamily.BLEND, n_identities=4)))
    exact = shapley_values(network, points, measures)
    close = contributions(network, points, measures)
    assert (close - exact).abs().mean() < 0.1 * exact.abs().mean()


def shapley_values(network: ScoringNet, points: torch.Tensor, measures: torch.Tensor) -> torch.Tensor:
    """By definition: the mean gain of a part over all sets of the others, each size of set weighing the same."""
    logits = {}
    for kept in product((0.0, 1.0), repeat=N_GROUPS):
        mask = torch.tensor(kept)
        logits[kept] = network.classify(
            points * mask[explanation.POINT_GROUPS], measures * mask[explanation.MEASURE_GROUPS]
        )
    values = torch.zeros(len(points), N_GROUPS)
    for kept, without in logits.items():
        for group in [group for group in range(N_GROUPS) if not kept[group]]:
            joined = logits[(*kept[:group], 1.0, *kept[group + 1 :])]
            values[:, group] += (joined - without) / (N_GROUPS * comb(N_GROUPS - 1, int(sum(kept))))
    return values


@pytest.fixture(params=["facemesh", "openface"])
def shipped(request: pytest.FixtureRequest, detector: Detector, openface_detector: Detector) -> Detector:
    """Each of the shipped models."""
    return detector if request.param == "facemesh" else openface_detector


def test_mismatched_eyes_are_explained_by_the_gaze(shipped: Detector) -> None:
    """In most rows, and by far on average."""
    real, fake = reasons_by_label(shipped, FakeFamily.GAZE)
    assert (fake.argmax(axis=1) == REASON_GROUPS.index("gaze")).mean() >= 0.7
    added = added_reasons(real, fake)
    assert added["gaze"] > 3 * max(value for group, value in added.items() if group != "gaze")


def test_a_swapped_face_is_explained_by_its_shape(shipped: Detector) -> None:
    """Not by where it looks, nor by how the head is held."""
    added = added_reasons(*reasons_by_label(shipped, FakeFamily.FACE_SWAP))
    shape = sum(added[group] for group in ("face_shape", "outline", "brows", "nose", "mouth"))
    assert shape > 0.3
    assert shape > 3 * (added["gaze"] + added["head_pose"])


def test_a_foreign_mouth_is_explained_by_the_mouth(shipped: Detector) -> None:
    """And by the shape it does not go with, where a model reads one."""
    added = added_reasons(*reasons_by_label(shipped, FakeFamily.MOUTH))
    assert "mouth" in sorted(added, key=lambda group: added[group])[-2:]


def test_reasons_are_given_on_demand_only(detector: Detector) -> None:
    """They cost many times the score, which is the same with them."""
    rows = fakes(FakeFamily.GAZE, n_identities=5)
    plain, explained = detector.judge(rows), detector.judge(rows, with_reasons=True)
    assert plain.contributions is None
    np.testing.assert_array_equal(plain.scores, explained.scores)
