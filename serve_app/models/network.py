"""The network: inverted residuals (MobileNetV2, Sandler et al. 2018, arXiv 1801.04381) in one dimension.

The convolutions run along a face's 124 points in iBUG order, where neighbours on the list are neighbours on
the face. Raw features go in; what makes them comparable between faces is ``inputs.FaceInputs``, a part of it.
"""

import torch
from torch import Tensor, nn

from serve_app.models.inputs import N_CHANNELS, N_MEASURES, N_POINTS, FaceInputs
from serve_app.models.novelty import Novelty
from serve_app.settings import Backend

_EXPANSION = 3  # MobileNetV2 has 6; these widths are small, and depthwise convolutions slow on a CPU
_STEM_WIDTH = 24
_BLOCKS = ((24, 1), (32, 2), (32, 1), (48, 2), (48, 1))  # output width, stride
_HEAD_WIDTH = 32
_HIDDEN = 64


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project: ``(n, width, length)`` to ``(n, out_width, length / stride)``."""

    def __init__(self, width: int, out_width: int, stride: int) -> None:
        super().__init__()
        hidden = width * _EXPANSION
        self.layers = nn.Sequential(
            *_convolution(width, hidden, kernel=1),
            nn.ReLU6(),
            *_convolution(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.ReLU6(),
            *_convolution(hidden, out_width, kernel=1),
        )
        self.is_residual = stride == 1 and width == out_width

    def forward(self, x: Tensor) -> Tensor:
        """Transform a sequence, around a shortcut where the shapes allow one."""
        y: Tensor = self.layers(x)
        return x + y if self.is_residual else y


class DeepfakeNet(nn.Module):
    """Raw features ``(n, 674) float32`` to logits ``(n,)``; a positive logit says fake.

    Only the reading of the features depends on the backend that extracted them; the layers are the same.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.inputs = FaceInputs(backend)
        self.stem = nn.Sequential(*_convolution(N_CHANNELS, _STEM_WIDTH, kernel=5, stride=2), nn.ReLU6())
        self.place = nn.Parameter(torch.zeros(1, _STEM_WIDTH, N_POINTS // 2))  # tells an eye from a mouth corner
        widths = [_STEM_WIDTH, *(width for width, _ in _BLOCKS)]
        self.blocks = nn.Sequential(
            *(InvertedResidual(widths[i], width, stride) for i, (width, stride) in enumerate(_BLOCKS))
        )
        self.head = nn.Sequential(*_convolution(widths[-1], _HEAD_WIDTH, kernel=1), nn.ReLU6(), nn.Flatten())
        self.measures = nn.Sequential(nn.Linear(N_MEASURES, _HIDDEN), nn.ReLU6())
        length = -(-N_POINTS // 8)  # three strides of 2, rounded up
        self.classifier = nn.Sequential(
            nn.Dropout(0.3),
            nn.Linear(_HEAD_WIDTH * length + _HIDDEN, _HIDDEN),
            nn.ReLU6(),
            nn.Dropout(0.3),
            nn.Linear(_HIDDEN, 1),
        )
        self.novelty: Novelty | None = None  # fitted after training; not a part of the logits

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits ``(n,)`` of raw features ``(n, 674)``; finite for every finite input."""
        return self.classify(*self.inputs(features))

    def classify(self, points: Tensor, measures: Tensor) -> Tensor:
        """Compute the logits ``(n,)`` of what ``FaceInputs`` derived."""
        sequence = self.blocks(self.stem(points) + self.place)
        logits: Tensor = self.classifier(torch.cat([self.head(sequence), self.measures(measures)], dim=1))
        return logits.squeeze(1)


def _convolution(width: int, out_width: int, *, kernel: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv1d(width, out_width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm1d(out_width)
