"""ONNX graphs, run by ONNX Runtime."""

import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from serve_app.errors import ArtifactInvalid, in_one_line
from serve_app.features.schema import FEATURE_COUNT

logger = logging.getLogger(__name__)

_NOWHERE = (
    "/dev/null/none"  # weights outside the file are looked for here: else `../` reaches any file that is readable
)


def open_onnx(
    content: bytes, label: str, device: torch.device, *, cpu_threads: int
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Load a graph of one input, ``(n, 674) float32``, and return what computes its one output.

    Raises:
        ArtifactInvalid: this is no ONNX graph, not whole, or its input or output is another; ``label`` names the model.
    """
    try:
        session = onnxruntime.InferenceSession(content, _options(cpu_threads), providers=_providers(device, label))
    except Exception as exc:  # the runtime's own classes share no other base
        raise ArtifactInvalid(
            f"{label}: ONNX Runtime {onnxruntime.__version__} cannot load it: {in_one_line(exc)}; "
            "export it again, with its weights in the same file"
        ) from exc
    name = _input_name(session, label)
    _check_output(session, label)

    def compute(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        outputs: list[npt.NDArray[np.float32]] = session.run(None, {name: np.ascontiguousarray(rows)})
        return outputs[0]

    return compute


def _options(cpu_threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would hold a core
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    return options


def _providers(device: torch.device, label: str) -> list[str]:
    if device.type != "cuda":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    logger.warning("%s: this ONNX Runtime has no CUDA: it computes on the CPU; install onnxruntime-gpu", label)
    return ["CPUExecutionProvider"]


def _input_name(session: onnxruntime.InferenceSession, label: str) -> str:
    inputs = session.get_inputs()
    described = ", ".join(f"{entry.name} {entry.shape} {entry.type}" for entry in inputs)
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or inputs[0].shape[1:] != [FEATURE_COUNT]:
        raise ArtifactInvalid(f"{label}: its input must be one of (n, {FEATURE_COUNT}) float32, not {described}")
    if isinstance(inputs[0].shape[0], int):
        raise ArtifactInvalid(
            f"{label}: it takes batches of {inputs[0].shape[0]} only; export it again with a dynamic first dimension"
        )
    return str(inputs[0].name)


def _check_output(session: onnxruntime.InferenceSession, label: str) -> None:
    """Refuse to choose among outputs: a classifier of scikit-learn gives its label first, then probabilities."""
    outputs = session.get_outputs()
    if len(outputs) != 1:
        described = ", ".join(f"{entry.name} {entry.type}" for entry in outputs)
        raise ArtifactInvalid(f"{label}: it must have one output, not {described}; export it with the scores alone")
