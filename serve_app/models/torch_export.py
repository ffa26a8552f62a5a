"""Programs of ``torch.export`` (.pt2), rebuilt from what was checked before torch may read them.

``torch.export.load`` is not made for files of others (torch 2.13): weights, constants and sample inputs may be pickles,
which it loads with ``weights_only=False``; a node's target is any attribute path below ``torch``, ``torch.os.system``
for one; sizes are given to ``sympy.sympify``, which evaluates them as Python; compiled libraries are loaded. So the
archive is read here first: only tensors as plain bytes and a graph of ATen operators pass, and torch is given a new
archive that holds nothing else. The two cannot be told different things by one file.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.export.passes import move_to_device_pass

from serve_app.errors import ArtifactInvalid, in_one_line

_GRAPH = "models/model.json"
_PAYLOADS = {
    "data/weights/model_weights_config.json": ("data/weights/", re.compile(r"weight_[0-9]+")),
    "data/constants/model_constants_config.json": ("data/constants/", re.compile(r"tensor_[0-9]+")),
}
_MARKERS = ("archive_format", "archive_version", "byteorder", ".data/version")
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"  # a pickle: left out, for nothing needs it

_WORD = re.compile(r"[\w.+-]*", re.ASCII)
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?!from_file\.)\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge)"
)
_SIZE = re.compile(
    r"(?:(?:Symbol|Integer|Rational|Add|Mul|Pow|Max|Min|Mod|FloorDiv|CleanDiv|CeilDiv|integer|positive|nonnegative"
    r"|nonzero|True|False)\b|'[A-Za-z]\w*'|[0-9]+\b|[(),=\s-])*",
    re.ASCII,
)
_EQUATION = re.compile(r"[\w ,.>-]*", re.ASCII)  # einsum's, and words such as "reflect"
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_ONE_ARGUMENT = {"type": "builtins.tuple", "context": "null", "children_spec": [_LEAF]}
_SPECS = {
    "in_spec": {
        "type": "builtins.tuple",
        "context": "null",
        "children_spec": [_ONE_ARGUMENT, {"type": "builtins.dict", "context": "[]", "children_spec": []}],
    },
    "out_spec": _LEAF,
}


def open_export(
    content: bytes, label: str, device: torch.device
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Load a program of one input, ``(n, 674) float32``, and return what computes its one output.

    Raises:
        ArtifactInvalid: this is no such program, or could run more than tensor operators; ``label`` names the model.
    """
    try:
        program = torch.export.load(io.BytesIO(rebuilt(content)))
        module = move_to_device_pass(program, device).module()
    except Exception as exc:  # torch's reader fails in as many ways as a file can be wrong
        raise ArtifactInvalid(
            f"{label}: it is no program that torch {torch.__version__} can load: {in_one_line(exc)}; make it with "
            "torch.export.export and torch.export.save, of one tensor in and one out, or use ONNX"
        ) from exc

    def compute(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            output: torch.Tensor = module(torch.tensor(rows, dtype=torch.float32, device=device))
        return output.cpu().numpy()

    return compute


def rebuilt(content: bytes) -> bytes:
    """Copy a .pt2 archive's graph and tensors into a new one.

    Raises:
        ValueError: the graph holds what could run as code, or the tensors are pickled.
        zipfile.BadZipFile, KeyError: the archive is broken, or lacks a part.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = archive.namelist()[0].partition("/")[0]
        members = {name: archive.read(f"{root}/{name}") for name in (*_MARKERS, *_PAYLOADS, _GRAPH)}
        for config, (folder, pattern) in _PAYLOADS.items():
            names = {_payload_name(entry, pattern) for entry in json.loads(members[config])["config"].values()}
            members |= {folder + name: archive.read(f"{root}/{folder}{name}") for name in names}
    members[_GRAPH] = json.dumps(_checked_program(json.loads(members[_GRAPH]))).encode()
    members[_SAMPLE_INPUTS] = b""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, member in members.items():
                archive.writestr(f"archive/{name}", member)
        return file.getvalue()


def _payload_name(entry: dict[str, Any], pattern: re.Pattern[str]) -> str:
    name = str(entry["path_name"])
    if entry["use_pickle"] is not False or not pattern.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is a pickle or an object rather than a plain tensor")
    return name


def _checked_program(program: dict[str, Any]) -> dict[str, Any]:
    """Return a program without notes on its source, once every text in it is known to be harmless."""
    program["guards_code"] = []
    graph_module = program["graph_module"]
    graph_module["module_call_graph"] = graph_module["module_call_graph"][:1]  # the rest is of submodules
    for node in graph_module["graph"]["nodes"]:
        node["metadata"] = {}
    for key, text in _texts(program):
        if not _is_harmless(key, text):
            raise ValueError(f"its {key or 'graph'} {text[:80]!r} is not what a graph of tensor operators holds")
    return program


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text below a JSON value with the key it stands under; keys of objects count as texts themselves."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield "", name
            yield from _texts(item, name)


def _is_harmless(key: str, text: str) -> bool:
    if key in _SPECS:
        return bool(json.loads(text) == [1, _SPECS[key]])
    patterns = {"target": _TARGET, "as_operator": _TARGET, "expr_str": _SIZE, "as_string": _EQUATION}
    return patterns.get(key, _WORD).fullmatch(text) is not None
