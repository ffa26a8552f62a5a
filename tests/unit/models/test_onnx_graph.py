"""ONNX graphs: what is refused before a row is scored."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from serve_app.errors import ArtifactInvalid
from serve_app.models.onnx_graph import open_onnx
from tests.exports import dense_onnx, graph_onnx

CPU = torch.device("cpu")
ONES = np.ones((674, 1), np.float32)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", dense_onnx(ONES)[:1000]])
def test_a_file_that_is_no_graph_is_refused(content: bytes) -> None:
    """Nothing, a pickle, half a graph."""
    with pytest.raises(ArtifactInvalid, match=r"model m/1: ONNX Runtime .* cannot load it"):
        open_onnx(content, "model m/1", CPU, cpu_threads=1)


@pytest.mark.parametrize("up", ["", "../"])
def test_weights_outside_the_file_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: str) -> None:
    """ONNX Runtime alone would read them from wherever the process stands."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / up / "secret").write_bytes(ONES.tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(674, 1), data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=f"{up}secret")
    with pytest.raises(ArtifactInvalid, match="with its weights in the same file"):
        open_onnx(graph_onnx(tensor), "model m/1", CPU, cpu_threads=1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 674), "takes batches of 1 only; export it again with a dynamic first dimension"),
        (("n", 673), r"must be one of \(n, 674\) float32"),
        (("n", 674, 1), r"must be one of \(n, 674\) float32"),
    ],
)
def test_another_input_is_refused(shape: Sequence[int | str], message: str) -> None:
    """With what it is, and what it must be."""
    weights = np.ones((int(shape[-1]), 1), np.float32)
    with pytest.raises(ArtifactInvalid, match=f"model m/1: .*{message}"):
        open_onnx(dense_onnx(weights, shape=shape), "model m/1", CPU, cpu_threads=1)


def test_several_outputs_are_refused() -> None:
    """The first of them may be a label, which would pass for a probability."""
    model = onnx.load_model_from_string(dense_onnx(ONES, activation="Sigmoid"))
    model.graph.output.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, None))
    with pytest.raises(ArtifactInvalid, match=r"one output, not logits tensor\(float\), scores tensor\(float\)"):
        open_onnx(model.SerializeToString(), "model m/1", CPU, cpu_threads=1)


def test_a_gpu_that_it_cannot_use_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """The CPU build computes on the CPU, not silently."""
    with caplog.at_level(logging.WARNING):
        compute = open_onnx(dense_onnx(ONES), "model m/1", torch.device("cuda"), cpu_threads=1)
    assert "install onnxruntime-gpu" in caplog.text
    np.testing.assert_allclose(compute(np.ones((2, 674), np.float32)), [[674], [674]])
