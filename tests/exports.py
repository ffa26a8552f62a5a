"""Models as others would make them: torch modules exported to ONNX and to .pt2, Keras-like ONNX graphs by hand."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto, helper
from torch import nn

FEATURES = 674


class Scorer(nn.Module):
    """A small classifier of raw features: logits ``(n, 1)``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.layers = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(features * 1e-3)
        return logits


def export_onnx(module: nn.Module, path: Path) -> Path:
    """Export with a dynamic number of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            module.eval(),
            (torch.zeros(4, FEATURES),),
            path,
            dynamo=True,
            dynamic_shapes=({0: "rows"},),
            external_data=False,
            optimize=False,  # takes longer than all the rest; ONNX Runtime does it anyway
            verbose=False,
        )
    return path


def export_pt2(module: nn.Module, path: Path, *, n_rows: int | None = None) -> Path:
    """Export with a dynamic number of rows, or a fixed one."""
    rows = torch.zeros(n_rows or 4, FEATURES)
    shapes = None if n_rows else ({0: torch.export.Dim("rows")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module.eval(), (rows,), dynamic_shapes=shapes), path)
    return path


def dense_onnx(
    weights: npt.NDArray[np.float32], *, activation: str | None = None, shape: Sequence[int | str] = ("n", FEATURES)
) -> bytes:
    """A graph of one dense layer ``(674, k)``, as tf2onnx writes a Keras model's last one."""
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
    return graph_onnx(tensor, activation=activation, shape=shape)


def graph_onnx(
    tensor: TensorProto, *, activation: str | None = None, shape: Sequence[int | str] = ("n", FEATURES)
) -> bytes:
    """Multiply rows by a tensor."""
    nodes = [helper.make_node("MatMul", ["features", "w"], ["logits"])]
    if activation:
        nodes.append(helper.make_node(activation, ["logits"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores" if activation else "logits", TensorProto.FLOAT, None)],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def as_bytes(module: nn.Module) -> bytes:
    """A module as ``torch.save`` pickles it."""
    with io.BytesIO() as file:
        torch.save(module, file)
        return file.getvalue()
