"""How far a row lies from those a model was trained on: by its face's geometry, and by how much of it was cut off.

The distance is that of probabilistic principal components (Tipping & Bishop, "Probabilistic Principal Component
Analysis", 1999) over the network's own standardised inputs: along the leading axes in their standard deviations,
across them in the standard deviation of the rest. A landmark network completes a face that the picture's edge cuts
off into one that looks whole, so no distance tells it; its landmarks lie outside of the picture, and that does.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serve_app.features.schema import FEATURE_SLICES, N_LANDMARKS
from serve_app.models.inputs import N_CHANNELS, N_MEASURES, N_POINTS, FaceInputs
from serve_app.models.registry import NoveltyLimits

Rows = npt.NDArray[np.float32]

_N_AXES = 64
_N_INPUTS = N_CHANNELS * N_POINTS + N_MEASURES
_HELD_OUT_SHARE = 0.995  # of held-out rows, what counts as known
_MIN_OUTSIDE_LIMIT = 0.05  # three of 68 landmarks: a jaw may touch the picture's edge
_BATCH_ROWS = 4096
_MIN_DEPTH_MM = 1.0


class Novelty(nn.Module):
    """Measures how far standardised inputs lie from the training rows; ``fit`` sets its constants once."""

    centre: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(_N_INPUTS))
        self.register_buffer("axes", torch.zeros(_N_INPUTS, _N_AXES))
        self.register_buffer("variances", torch.ones(_N_AXES))
        self.register_buffer("rest", torch.ones(()))

    @torch.no_grad()
    def fit(self, points: Tensor, measures: Tensor) -> None:
        """Set the constants from what ``FaceInputs`` makes of training rows, reals and fakes."""
        inputs = _flattened(points, measures)
        self.centre.copy_(inputs.mean(dim=0))
        variances, axes = torch.linalg.eigh(torch.cov(inputs.T).double())  # ascending
        self.rest.copy_(variances[:-_N_AXES].mean().clamp(min=1e-6))
        self.variances.copy_(variances[-_N_AXES:]).clamp_(min=self.rest)
        self.axes.copy_(axes[:, -_N_AXES:])

    def forward(self, points: Tensor, measures: Tensor) -> Tensor:
        """Measure points ``(n, 8, 124)`` and measures ``(n, 112)``: distances ``(n,)``, about 1 on training rows."""
        inputs = _flattened(points, measures) - self.centre
        along = (inputs @ self.axes).square()
        across = (inputs.square().sum(dim=1) - along.sum(dim=1)).clamp(min=0.0)
        return (((along / self.variances).sum(dim=1) + across / self.rest) / _N_INPUTS).sqrt()


def fit_novelty(inputs: FaceInputs, training: Rows, held_out: Rows) -> tuple[Novelty, NoveltyLimits]:
    """Fit to training rows ``(n, 674)``, reals and fakes; set the limits so that 99.5 % of held-out rows are known.

    The module belongs into ``DeepfakeNet.novelty``, so that its constants are saved with the weights.
    """
    novelty = Novelty()
    with torch.no_grad():
        known, unseen = (_standardised(inputs, rows) for rows in (training, held_out))
        novelty.fit(*known)
        distances = novelty(*unseen)
    limits = NoveltyLimits(
        distance=float(np.quantile(distances.numpy(), _HELD_OUT_SHARE)),
        outside=max(
            float(np.quantile(share_outside(torch.from_numpy(held_out)).numpy(), _HELD_OUT_SHARE)), _MIN_OUTSIDE_LIMIT
        ),
    )
    return novelty, limits


def share_outside(features: Tensor) -> Tensor:
    """The share ``(n,)`` of each face's landmarks that lie outside of its picture, from raw features ``(n, 674)``.

    Both extractors place the optical axis in the picture's middle: a landmark at ``(X, Y, Z)`` mm is seen at
    ``focal * X / Z + width / 2``. Over 68 landmarks that gives the focal length and the middle to about a pixel.
    """
    seen = features[:, FEATURE_SLICES["landmarks_2d"]].reshape(-1, 2, N_LANDMARKS).double()
    place = features[:, FEATURE_SLICES["landmarks_3d"]].reshape(-1, 3, N_LANDMARKS).double()
    slopes = place[:, :2] / place[:, 2:].clamp(min=_MIN_DEPTH_MM)
    seen_about, slopes_about = (values - values.mean(dim=2, keepdim=True) for values in (seen, slopes))
    energy = slopes_about.square().sum(dim=(1, 2)).clamp(min=1e-12)
    focal = (slopes_about * seen_about).sum(dim=(1, 2)) / energy
    middle = seen.mean(dim=2) - focal[:, None] * slopes.mean(dim=2)
    is_outside = ((seen < 0.0) | (seen > 2.0 * middle[:, :, None])).any(dim=1)
    return is_outside.float().mean(dim=1)


def _standardised(inputs: FaceInputs, rows: Rows) -> tuple[Tensor, Tensor]:
    parts = [inputs(batch) for batch in torch.split(torch.from_numpy(rows), _BATCH_ROWS)]
    points, measures = zip(*parts, strict=True)
    return torch.cat(points), torch.cat(measures)


def _flattened(points: Tensor, measures: Tensor) -> Tensor:
    return torch.cat([points.flatten(1), measures], dim=1)
