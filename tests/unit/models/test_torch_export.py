"""Programs of torch.export: what could run code in them does not reach torch."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from serve_app.errors import ArtifactInvalid
from serve_app.models.torch_export import open_export, rebuilt
from tests.exports import Scorer, as_bytes, export_pt2

CPU = torch.device("cpu")
Edit = Callable[[str, bytes], bytes]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export_pt2(Scorer(), tmp_path_factory.mktemp("export") / "model.pt2").read_bytes()


def edited(program: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes in every member of the archive; at least one has them."""
    with zipfile.ZipFile(io.BytesIO(program)) as archive, io.BytesIO() as file:
        members = {name: archive.read(name) for name in archive.namelist()}
        assert any(old in member for member in members.values())
        with zipfile.ZipFile(file, "w") as copy:
            for name, member in members.items():
                copy.writestr(name, member.replace(old, new))
        return file.getvalue()


def test_a_size_is_not_evaluated(program: bytes, tmp_path: Path) -> None:
    """Sympy would: torch alone runs this, and so would have run anything."""
    trace = tmp_path / "trace"
    attack = edited(program, b"Symbol('s", f"open('{trace}', 'w').write('s".encode())
    with pytest.raises(ArtifactInvalid, match=r"its expr_str .* is not what a graph of tensor operators holds"):
        open_export(attack, "model m/1", CPU)
    assert not trace.exists()


@pytest.mark.parametrize(
    "target", [b"torch.os.system", b"torch.ops.aten.from_file.default", b"_operator.methodcaller", b"builtins.exec"]
)
def test_only_tensor_operators_are_called(program: bytes, target: bytes) -> None:
    """Any attribute path would be followed."""
    with pytest.raises(ArtifactInvalid, match=r"its target .* is not what a graph"):
        open_export(edited(program, b"torch.ops.aten.relu.default", target), "model m/1", CPU)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"use_pickle": false', b'"use_pickle": true'), (b'"weight_0"', b'"opaque_obj_0"'), (b'"weight_0"', b'"../x"')],
)
def test_tensors_are_not_unpickled(program: bytes, old: bytes, new: bytes) -> None:
    """Plain bytes only, from their own folder."""
    with pytest.raises(ArtifactInvalid, match="is a pickle or an object rather than a plain tensor"):
        open_export(edited(program, old, new), "model m/1", CPU)


def test_what_torch_is_given_holds_no_pickle(program: bytes) -> None:
    """The sample inputs are one, and anything else that lies in the archive is left out."""
    with zipfile.ZipFile(io.BytesIO(program + b"")) as archive, io.BytesIO(program) as file:
        root = archive.namelist()[0].partition("/")[0]
        with zipfile.ZipFile(file, "a") as extended:
            extended.writestr(f"{root}/data/aotinductor/model/evil.so", b"\x7fELF")
        extended_program = file.getvalue()
    with zipfile.ZipFile(io.BytesIO(rebuilt(extended_program))) as archive:
        assert archive.read("archive/data/sample_inputs/model.pt") == b""
        assert not [name for name in archive.namelist() if "aotinductor" in name]


def test_the_copy_that_torch_is_given_computes_the_same(program: bytes) -> None:
    """Leaving out notes and samples changes no number."""
    rows = np.random.default_rng(0).normal(size=(5, 674)).astype(np.float32)
    with torch.inference_mode():
        expected = Scorer()(torch.from_numpy(rows)).numpy()
    np.testing.assert_array_equal(open_export(program, "model m/1", CPU)(rows), expected)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04N.", as_bytes(Scorer())])
def test_other_files_are_refused(content: bytes) -> None:
    """Nothing, half an archive, a pickle, a pickled module."""
    with pytest.raises(ArtifactInvalid, match=r"model m/1: it is no program that torch .* can load.*ONNX"):
        open_export(content, "model m/1", CPU)
