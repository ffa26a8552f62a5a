"""The network as it scores: what training needs is folded away, and convolutions are matrix products.

A sequence lies as ``(n, length, width)`` here, so that a pointwise convolution is one product over all points of all
rows: 30 rows take three fifths of the time that they take with torch's own convolutions, one row takes a third. And on
a GPU torch computes products of float32 exactly, convolutions in TF32 unless told otherwise.
"""

import copy
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from serve_app.models.network import DeepfakeNet, InvertedResidual


class ScoringNet(nn.Module):
    """A trained network's logits at less cost; the network itself is left as it is."""

    def __init__(self, network: DeepfakeNet) -> None:
        super().__init__()
        network = copy.deepcopy(network).eval()
        self.inputs, self.novelty = network.inputs, network.novelty
        self._stem = nn.Sequential(*_products(network.stem))
        self._place = nn.Parameter(network.place.transpose(1, 2).contiguous())
        self._blocks = network.blocks  # whose shortcuts are the same for either layout
        for block in self._blocks:
            if isinstance(block, InvertedResidual):
                block.layers = nn.Sequential(*_products(block.layers))
        self._head = nn.Sequential(*_products(list(network.head)[:-1]))  # flattened below
        self._measures, self._classifier = network.measures, network.classifier
        self.eval()

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits ``(n,)`` of raw features ``(n, 674)``; finite for every finite input."""
        return self.classify(*self.inputs(features))

    def classify(self, points: Tensor, measures: Tensor) -> Tensor:
        """Compute the logits ``(n,)`` of points ``(n, 8, 124)`` and measures ``(n, 112)``, as the network does."""
        sequence = self._head(self._blocks(self._stem(points.transpose(1, 2)) + self._place))
        seen = torch.cat([sequence.transpose(1, 2).flatten(1), self._measures(measures)], dim=1)
        logits: Tensor = self._classifier(seen)
        return logits.squeeze(1)


class _Windows(nn.Module):
    """What a convolution sees at each step: ``(n, length, width)`` to ``(n, length / stride, width * kernel)``."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self._kernel, self._stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Lay out the windows of a sequence, zeros beyond its ends."""
        around = self._kernel // 2
        return pad(x, (0, 0, around, around)).unfold(1, self._kernel, self._stride).flatten(2)


class _Depthwise(nn.Module):
    """Convolve each channel with three weights: ``(n, length, width)`` to ``(n, length / stride, width)``."""

    def __init__(self, weights: Tensor, bias: nn.Parameter, stride: int) -> None:
        super().__init__()
        self._weights = nn.Parameter(weights)  # of the point before, the point itself, the point after
        self._bias = bias
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Weigh each point and its two neighbours; there is none beyond the ends."""
        before, here, after = self._weights
        y = torch.addcmul(self._bias, x[:, :: self._stride], here)
        y[:, 1:].addcmul_(x[:, self._stride - 1 :: self._stride][:, : y.shape[1] - 1], before)
        right = x[:, 1 :: self._stride]
        y[:, : right.shape[1]].addcmul_(right, after)
        return y


def _products(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """What does the same as these layers of a trained network."""
    for layer, following in pairwise([*layers, None]):
        match layer, following:
            case nn.Conv1d(), nn.BatchNorm1d():
                yield from _product(fuse_conv_bn_eval(layer, following))
            case nn.BatchNorm1d(), _:
                pass  # folded into what comes before
            case nn.ReLU6(), _:
                yield nn.ReLU6(inplace=True)
            case _:
                raise TypeError(f"no product does what {layer} does")


def _product(convolution: nn.Conv1d) -> Iterator[nn.Module]:
    bias = cast(nn.Parameter, convolution.bias)  # a folded normalisation always leaves one
    (kernel,), (stride,) = convolution.kernel_size, convolution.stride
    if convolution.groups > 1:
        yield _Depthwise(convolution.weight[:, 0].T.contiguous(), bias, stride)
        return
    if kernel > 1:
        yield _Windows(kernel, stride)
    linear = nn.Linear(convolution.in_channels * kernel, convolution.out_channels)
    linear.weight, linear.bias = nn.Parameter(convolution.weight.flatten(1)), bias
    yield linear
