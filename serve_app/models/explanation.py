"""Why a score is what it is: what each part of a face contributed to the logit.

The contributions are Shapley values of the parts (Lundberg & Lee, "A Unified Approach to Interpreting Model
Predictions", 2017, arXiv 1705.07874): what is learnt of a part is replaced by a typical face's, which is 0 in
standardised inputs, and the logit's change is averaged over orders in which the parts come in. Not all 8! orders:
the parts lie on a circle, and come in along it, from each start and in both directions (docs/adr/0004).
"""

import torch
from torch import Tensor

from serve_app.models.inputs import MEASURE_COUNTS
from serve_app.models.scoring import ScoringNet
from serve_app.predictions import REASON_GROUPS, ReasonGroup

_EYE: tuple[tuple[ReasonGroup, int], ...] = (("gaze", 8), ("eyes", 12), ("gaze", 8))  # iris, lids, pupil
_POINT_RUNS: tuple[tuple[ReasonGroup, int], ...] = (
    ("outline", 17), ("brows", 10), ("nose", 9), ("eyes", 12), ("mouth", 20), *_EYE, *_EYE,
)  # fmt: skip
_GROUP_OF_MEASURE: dict[str, ReasonGroup] = {
    "gaze": "gaze",
    "eye_against_eye": "gaze",
    "perspective": "head_pose",
    "pose": "head_pose",
    "depth": "head_pose",
    "jaw_motion": "outline",
    "inner_face_motion": "face_shape",
    "eyes_motion": "eyes",
    "mouth_motion": "mouth",
    "jaw_stray": "outline",
    "brows_stray": "brows",
    "nose_stray": "nose",
    "eyes_stray": "eyes",
    "mouth_stray": "mouth",
    "lids": "eyes",
    "shape_params": "face_shape",
}

_N_GROUPS = len(REASON_GROUPS)
POINT_GROUPS = torch.tensor([REASON_GROUPS.index(group) for group, count in _POINT_RUNS for _ in range(count)])
MEASURE_GROUPS = torch.tensor(
    [REASON_GROUPS.index(_GROUP_OF_MEASURE[name]) for name, count in MEASURE_COUNTS.items() for _ in range(count)]
)


def contributions(network: ScoringNet, points: Tensor, measures: Tensor) -> Tensor:
    """Explain the logits of points ``(n, 8, 124)`` and measures ``(n, 112)``: ``(n, 8)``, of ``REASON_GROUPS``.

    They sum to the row's logit less that of a typical face. Costs 65 passes of what follows the inputs.
    """
    nothing = network.classify(torch.zeros_like(points[:1]), torch.zeros_like(measures[:1]))
    arcs = torch.stack([_arc_logits(network, points, measures, start) for start in range(_N_GROUPS)])
    arcs = torch.cat([nothing.expand(_N_GROUPS, 1, len(points)), arcs], dim=1)  # of 0 to 8 groups, from each start
    gains = torch.zeros_like(arcs[:, 0])
    for length in range(_N_GROUPS):
        shorter, longer = arcs[:, length], arcs[:, length + 1]
        gains += (longer - shorter).roll(length, dims=0)  # the group that joins at the arc's end
        gains += longer - shorter.roll(-1, dims=0)  # and the one that joins at its start
    return gains.T / (2 * _N_GROUPS)


def _arc_logits(network: ScoringNet, points: Tensor, measures: Tensor, start: int) -> Tensor:
    """The logits ``(8, n)`` with 1, 2 .. 8 groups of the circle kept from ``start`` on, the others typical."""
    place = torch.arange(_N_GROUPS, device=points.device).sub(start) % _N_GROUPS  # of each group on the arc
    kept = place <= torch.arange(_N_GROUPS, device=points.device).unsqueeze(1)
    kept_points = points * kept[:, POINT_GROUPS.to(points.device)][:, None, None]
    kept_measures = measures * kept[:, MEASURE_GROUPS.to(points.device)][:, None]
    return network.classify(kept_points.flatten(0, 1), kept_measures.flatten(0, 1)).reshape(_N_GROUPS, -1)
