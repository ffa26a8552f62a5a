"""The commands about models; their options are in ``model_options``."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.markup import escape

from serve_app.checkset import make_check_set
from serve_app.errors import ArtifactInvalid, UnknownModel
from serve_app.model_names import parse_model_name
from serve_app.model_tables import clip_progress, epoch_progress, show_evaluation, show_models
from serve_app.models.dataset import LabelledRows, load_dataset
from serve_app.models.detector import Detector, resolve_device
from serve_app.models.evaluation import Evaluation, evaluate
from serve_app.models.importing import ImportRequest, import_model
from serve_app.models.mixture import LABELLED, SIMULATED, LabelledFolder
from serve_app.models.plots import require_matplotlib
from serve_app.models.recalibration import Recalibration, recalibrate
from serve_app.models.recipe import Recipe, Trained, checkpoint_of, train_model
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.models.report import write_report
from serve_app.models.reproduction import deviations, load_reference, recipe_of
from serve_app.models.simulation import simulate
from serve_app.settings import Backend, ParserSettings, cache_dir

_CHECK_SET = "_check_set"
_MEASURED_ON = MappingProxyType(
    {
        SIMULATED: "simulated people that the model was not trained on; that says nothing about deepfakes in the wild",
        LABELLED: "labelled CSVs",
        _CHECK_SET: "face swaps of a few portraits, made by this project, seen by the real extractor",
    }
)
_EXIT_FAILED = 1

_out = Console()
_err = Console(stderr=True)


def _train(args: argparse.Namespace) -> int:
    if not args.no_report:
        require_matplotlib()
    reference = load_reference(args.reproduce) if args.reproduce else None
    recipe = recipe_of(reference) if reference else _recipe(args)
    trained = _train_recipe(args.output_dir, recipe, is_resumed=args.resume)
    _show(trained)
    status = _compare(trained.manifest, reference) if reference else 0
    if not args.no_report:  # last: a disk that is full now takes nothing of the above away
        _write_reports(trained)
    return status


def _train_recipe(output_dir: Path, recipe: Recipe, *, is_resumed: bool) -> Trained:
    """Train; where Ctrl-C ends that after an epoch, say how to go on."""
    try:
        with epoch_progress(_err, recipe.epochs) as on_epoch:
            return train_model(output_dir, recipe, is_resumed=is_resumed, on_epoch=on_epoch)
    except KeyboardInterrupt as exc:
        if checkpoint_of(output_dir, recipe).exists():
            raise KeyboardInterrupt("the same command with --resume goes on after the last epoch") from exc
        raise


def _compare(made: Manifest, reference: Manifest) -> int:
    faults = list(deviations(made, reference))
    for fault in faults:
        _err.print(f"[red]not reproduced[/]: {escape(fault)}", highlight=False)
    if not faults:
        _err.print(f"every metric lies within the interval of {reference.label}", highlight=False)
    return _EXIT_FAILED if faults else 0


def _recipe(args: argparse.Namespace) -> Recipe:
    labelled = LabelledFolder(args.real, args.real_share, args.rows_per_video) if args.real else None
    return Recipe(args.backend, args.seed, args.identities, args.epochs, args.name, args.calibration, labelled)


def _write_reports(trained: Trained) -> None:
    for suffix, evaluation in trained.evaluations.items():
        folder = trained.folder / f"report{suffix}"
        facts = {"model": trained.manifest.label, "measured on": _MEASURED_ON[suffix]}
        write_report(folder, evaluation, title=_title(trained.manifest, suffix), suffix=suffix, facts=facts)


def _show(trained: Trained) -> None:
    for suffix, evaluation in trained.evaluations.items():
        show_evaluation(_out, evaluation, title=_title(trained.manifest, suffix), suffix=suffix)
    _err.print(f"written: {trained.folder}", highlight=False, soft_wrap=True)


def _title(manifest: Manifest, suffix: str) -> str:
    return f"{manifest.label} on {_MEASURED_ON[suffix]}"


def _evaluate(args: argparse.Namespace) -> int:
    if args.report:
        require_matplotlib()
    registry = ModelRegistry(args.models_dir)
    manifest = _find(registry, args.model, args.backend)
    detector = Detector.load(registry, manifest, resolve_device("cpu"))
    suffix, rows = _rows(args, manifest.backend)
    evaluation = evaluate(rows.scored(detector.scores(rows.features)))
    if args.json:
        sys.stdout.write(_json(manifest, evaluation, suffix) + "\n")
    else:
        show_evaluation(_out, evaluation, title=_title(manifest, suffix), suffix=suffix)
    if args.report:
        facts = {"model": manifest.label, "measured on": _MEASURED_ON[suffix]}
        write_report(args.report, evaluation, title=_title(manifest, suffix), suffix=suffix, facts=facts)
    return 0


def _rows(args: argparse.Namespace, backend: Backend) -> tuple[str, LabelledRows]:
    """The rows to measure on, and how the names of metrics end that are measured on such rows."""
    if args.data:
        return LABELLED, _load(args)
    if args.check_set:
        with clip_progress(_err) as on_clip:
            rows = make_check_set(cache_dir(), backend, on_clip=on_clip)
        return _CHECK_SET, LabelledRows(rows.features, rows.labels, rows.family, rows.video)
    return SIMULATED, LabelledRows.of_simulation(simulate(args.seed, args.simulated, backend=backend))


def _load(args: argparse.Namespace) -> LabelledRows:
    min_confidence = ParserSettings().min_confidence
    return load_dataset(args.data, rows_per_video=args.rows_per_video, min_confidence=min_confidence)


def _find(registry: ModelRegistry, text: str, backend: Backend | None) -> Manifest:
    """The model that NAME or NAME@VERSION means: as the service does, the newest version for a backend."""
    wanted = parse_model_name(text)
    if backend is None and wanted.version is None:
        backend = "facemesh"
    manifests = registry.manifests()
    fitting = [
        manifest
        for manifest in manifests
        if wanted.means(manifest.name, manifest.version) and backend in (None, manifest.backend)
    ]
    if not fitting:
        there = ", ".join(f"{manifest.name}@{manifest.version} ({manifest.backend})" for manifest in manifests)
        asked = f"{text!r} for {backend}" if backend else repr(text)
        raise UnknownModel(f"no model {asked} in {registry.models_dir}; it holds {there or 'none'}")
    return fitting[-1]


def _json(manifest: Manifest, evaluation: Evaluation, suffix: str) -> str:
    measured = asdict(evaluation)
    return json.dumps(
        {
            "model": f"{manifest.name}@{manifest.version}",
            "measured_on": _MEASURED_ON[suffix],
            "suffix": suffix,
            **{part: measured[part] for part in ("n_rows", "n_groups", "metrics", "by_family", "by_pose")},
        }
    )


def _calibrate(args: argparse.Namespace) -> int:
    registry = ModelRegistry(args.models_dir)
    manifest = _find(registry, args.model, args.backend)
    calibrated = recalibrate(registry, manifest, _load(args), Recalibration(args.method, args.seed, args.output))
    _show(calibrated)
    return 0


def _models(args: argparse.Namespace) -> int:
    manifests = ModelRegistry(args.models_dir).manifests()
    if args.json:
        for manifest in manifests:
            sys.stdout.write(manifest.model_dump_json(exclude={"features", "card"}) + "\n")
    else:
        show_models(_out, manifests)
    return 0


def _import_model(args: argparse.Namespace) -> int:
    card = _read_card(args.card) if args.card else None
    request = ImportRequest(args.file, args.name, args.backend, args.output, args.license, args.threshold, card)
    manifest = import_model(request, args.models_dir)
    show_models(_out, [manifest])
    return 0


def _read_card(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise ArtifactInvalid(f"the card {file} is no text in UTF-8: {exc}; save it as such") from exc


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = MappingProxyType(
    {
        "train": _train,
        "evaluate": _evaluate,
        "calibrate": _calibrate,
        "models": _models,
        "import-model": _import_model,
    }
)
