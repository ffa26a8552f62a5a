"""Who may import whom: the layers, and one door for each library."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL_COMMANDS = ("serve_app.model_commands", "serve_app.model_options", "serve_app.model_tables")
EDGE = (
    "serve_app.app",
    "serve_app.cli",
    "serve_app.client",
    "serve_app.console",
    "serve_app.launcher",
    *MODEL_COMMANDS,
)
CORE = (
    "serve_app.errors",
    "serve_app.settings",
    "serve_app.features",
    "serve_app.frames",
    "serve_app.predictions",
    "serve_app.model_names",
)
PIPELINE = (*CORE, "serve_app.pipeline", "serve_app.sessions", "serve_app.admission", "serve_app.remembered")

# The longest prefix that fits a module decides what it may import of ours.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "serve_app": (),
    "serve_app.errors": (),
    "serve_app.settings": (),
    "serve_app.addresses": ("serve_app.errors", "serve_app.settings"),
    "serve_app.model_names": (),
    "serve_app.batching": (),
    "serve_app.remembered": CORE,
    "serve_app.wheels": CORE,
    "serve_app.talking_head": CORE,
    "serve_app.portraits": (*CORE, "serve_app.talking_head", "serve_app.wheels"),
    "serve_app.demo": (*CORE, "serve_app.portraits", "serve_app.talking_head", "serve_app.wheels"),
    "serve_app.faceswap": (*CORE, "serve_app.talking_head"),
    "serve_app.checkset": (
        *CORE,
        "serve_app.demo",
        "serve_app.extractors",
        "serve_app.faceswap",
        "serve_app.portraits",
        "serve_app.talking_head",
    ),
    "serve_app.frames": CORE,
    "serve_app.predictions": CORE,
    "serve_app.features": ("serve_app.errors", "serve_app.settings", "serve_app.features"),
    "serve_app.extractors": (*CORE, "serve_app.extractors", "serve_app.wheels"),
    "serve_app.models": (
        "serve_app.errors",
        "serve_app.settings",
        "serve_app.features",
        "serve_app.model_names",
        "serve_app.models",
        "serve_app.predictions",
    ),
    "serve_app.fanout": ("serve_app.settings",),
    "serve_app.coalescing": (),
    "serve_app.pipeline": (*CORE, "serve_app.coalescing", "serve_app.fanout"),
    "serve_app.sessions": CORE,
    "serve_app.admission": CORE,
    "serve_app.http": (*PIPELINE, "serve_app.http", "serve_app", "serve_app.addresses"),
    "serve_app.client": ("serve_app.settings", "serve_app.http.contract"),
    "serve_app.launcher": ("serve_app.errors", "serve_app.settings", "serve_app.addresses"),
    "serve_app.doctor": (*CORE, "serve_app.extractors", "serve_app.models"),
    "serve_app.console": ("serve_app.client",),
    "serve_app.cli": ("serve_app",),
    "serve_app.model_options": ("serve_app.settings", "serve_app.model_commands"),
    "serve_app.model_commands": ("serve_app",),
    "serve_app.model_tables": ("serve_app.model_names", "serve_app.models"),
    "serve_app.app": ("deployments", "serve_app.settings"),
    "deployments": ("deployments", "serve_app"),
}

DOORS: dict[str, tuple[str, ...]] = {
    "ray": ("deployments", "serve_app.app"),
    "torch": ("serve_app.models",),
    "pandas": ("serve_app.features.table",),
    "fastapi": ("serve_app.http",),
    "starlette": ("serve_app.http", "deployments.ingress"),
    "uvicorn": ("serve_app.http.listener",),
    "ai_edge_litert": ("serve_app.extractors.facemesh",),
    "safetensors": ("serve_app.models",),
    "matplotlib": ("serve_app.models.plots",),
    "onnxruntime": ("serve_app.models.onnx_graph",),
    "requests": ("serve_app.client", "serve_app.launcher", "serve_app.cli"),
    "rich": ("serve_app.console", "serve_app.cli", "serve_app.model_commands", "serve_app.model_tables"),
    "yaml": ("serve_app.launcher", "deployments.run"),
    "subprocess": ("serve_app.wheels", "serve_app.launcher", "serve_app.extractors.openface"),
}


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def imports() -> Iterator[tuple[str, str]]:
    """Every (importing module, imported module) of the two packages."""
    for path in [*ROOT.glob("serve_app/**/*.py"), *ROOT.glob("deployments/**/*.py")]:
        importer = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                submodules = [f"{node.module}.{alias.name}" for alias in node.names]
                for name in submodules:
                    is_module = (ROOT / (name.replace(".", "/") + ".py")).exists() or (
                        ROOT / name.replace(".", "/")
                    ).is_dir()
                    yield importer, name if is_module else str(node.module)
            elif isinstance(node, ast.Import):
                yield from ((importer, alias.name) for alias in node.names)


OURS = sorted({pair for pair in imports() if within(pair[1], ("serve_app", "deployments"))})
THEIRS = sorted({pair for pair in imports() if pair[1].split(".")[0] in DOORS})


@pytest.mark.parametrize(("importer", "imported"), OURS)
def test_a_module_imports_only_what_its_layer_may(importer: str, imported: str) -> None:
    """The table above is the architecture."""
    layer = max((prefix for prefix in MAY_IMPORT if within(importer, (prefix,))), key=len)
    assert within(imported, MAY_IMPORT[layer]) or imported == "serve_app.errors"
    assert not within(imported, EDGE) or importer in EDGE


@pytest.mark.parametrize(("importer", "imported"), THEIRS)
def test_each_library_has_one_door(importer: str, imported: str) -> None:
    """Ray in the shells, torch in the models, pandas in the table, and so on."""
    assert within(importer, DOORS[imported.split(".", 1)[0]])


def test_the_builder_lets_serve_see_its_annotation() -> None:
    """With postponed annotations `args` would arrive as an unvalidated dict."""
    assert "from __future__" not in (ROOT / "serve_app" / "app.py").read_text().replace("No `from __future__", "")
