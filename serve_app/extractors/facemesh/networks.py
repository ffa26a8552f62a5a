"""One LiteRT network, and the four of them that the extractor runs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from serve_app.extractors.facemesh.weights import read_weights

Tensor = npt.NDArray[np.float32]


class Network:
    """A network that looks at one square of pixels, on one thread; black is ``black`` to it, and white is 1."""

    def __init__(self, model: bytes, *, black: float = 0.0) -> None:
        self._black = np.float32(black)
        self._per_level = np.float32((1.0 - black) / 255.0)
        self._interpreter = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    @property
    def input_side_px(self) -> int:
        """Width and height of the square the network looks at."""
        return int(self._input["shape"][1])

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> list[Tensor]:
        """Run the network on ``(side, side, 3)`` RGB; its outputs, flat, in its own order."""
        self._fill_input(pixels)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output["index"]).ravel() for output in self._outputs]

    def _fill_input(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Write into the input tensor itself; the view must be gone before the network runs."""
        view = self._interpreter.tensor(self._input["index"])()
        np.multiply(pixels, self._per_level, out=view[0])
        if self._black:
            view += self._black


@dataclass(frozen=True)
class Networks:
    """The four networks; not for use by two threads at once."""

    short_range: Network
    full_range: Network
    mesh: Network
    iris: Network

    @classmethod
    def load(cls, weights_dir: Path) -> "Networks":
        """Load all four.

        Raises:
            WeightsMissing: a file is absent or is not the pinned one.
        """
        weights = read_weights(weights_dir)
        return cls(
            short_range=Network(weights["face_detection_short_range.tflite"], black=-1.0),
            full_range=Network(weights["face_detection_full_range_sparse.tflite"], black=-1.0),
            mesh=Network(weights["face_landmark.tflite"]),
            iris=Network(weights["iris_landmark.tflite"]),
        )


def sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn a network's logits into probabilities."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -80.0, 80.0))))
