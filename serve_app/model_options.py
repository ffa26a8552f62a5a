"""The options of the commands about models: ``train``, ``evaluate``, ``calibrate``, ``models``, ``import-model``."""

import argparse
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from serve_app.settings import DEFAULT_MODEL, Backend, PredictorSettings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_METHODS = ("temperature", "isotonic")
_ROWS_PER_VIDEO, _REAL_SHARE, _SIMULATED = 32, 0.5, 2_500
_OF_VIDEOS: Mapping[str, object] = MappingProxyType({"rows_per_video": _ROWS_PER_VIDEO})
_OF_REAL: Mapping[str, object] = MappingProxyType({"real_share": _REAL_SHARE, **_OF_VIDEOS})
_OF_SIMULATION: Mapping[str, object] = MappingProxyType({"seed": 0})
"""Options that go with another one, and what they are where it is given without them."""


def add_model_commands(commands: "Commands") -> None:
    """Add the commands to a parser's; each sets ``command`` to what carries it out."""
    _add_train(commands)
    _add_evaluate(commands)
    _add_calibrate(commands)
    _add_models(commands)
    _add_import(commands)


def _add_train(commands: "Commands") -> None:
    train = commands.add_parser("train", help="train a detector on simulated faces, on labelled CSVs, or on both")
    train.add_argument("output_dir", type=Path, help="a models folder: the model becomes its newest version")
    train.add_argument("--name", default=DEFAULT_MODEL, help=f"what to call the model (default: {DEFAULT_MODEL})")
    train.add_argument("--backend", choices=get_args(Backend), default="facemesh", help="whose features it will take")
    train.add_argument("--seed", type=_natural, default=1)
    train.add_argument("--identities", type=_count, default=10_000, help="simulated people (default: 10000)")
    train.add_argument("--epochs", type=_count, default=8, help="passes over them (default: 8)")
    train.add_argument("--real", type=Path, metavar="DIR", help="mix in a folder of CSVs with labels.csv")
    train.add_argument(
        "--real-share", type=_share, help=f"its share of an epoch (default: {_REAL_SHARE}); 1: nothing else"
    )
    _add_rows_per_video(train)
    train.add_argument("--calibration", choices=_METHODS, default="temperature", help="fitted on held-out people")
    train.add_argument("--resume", action="store_true", help="go on after the last epoch of an interrupted training")
    train.add_argument("--no-report", action="store_true", help="write no report beside the model")
    train.add_argument(
        "--reproduce",
        type=Path,
        metavar="MODELS/NAME/1",
        help="train as that model was, whatever the options above say; fail if a metric leaves its interval",
    )
    train.set_defaults(command=partial(_carry_out_with, train, {"real": _OF_REAL}), action="train")


def _add_evaluate(commands: "Commands") -> None:
    evaluate = commands.add_parser("evaluate", help="measure a model, with intervals, per fake family and head pose")
    _add_model(evaluate)
    rows = evaluate.add_mutually_exclusive_group()
    rows.add_argument(
        "--simulated", type=_count, metavar="N", help=f"on N new simulated people (default: {_SIMULATED})"
    )
    rows.add_argument("--data", type=Path, metavar="DIR", help="on a folder of CSVs with labels.csv")
    rows.add_argument("--check-set", action="store_true", help="on pictures of face swaps, made here by the extractor")
    _add_rows_per_video(evaluate)
    evaluate.add_argument("--seed", type=_natural, help="of the simulation (default: 0)")
    evaluate.add_argument("--report", type=Path, metavar="DIR", help="write JSON, plots and Markdown there")
    evaluate.add_argument("--json", action="store_true", help="print one line of JSON")
    evaluate.set_defaults(command=partial(_carry_out_evaluate, evaluate), action="evaluate")


def _add_calibrate(commands: "Commands") -> None:
    calibrate = commands.add_parser("calibrate", help="fit a model's probabilities to labelled CSVs of one's own")
    _add_model(calibrate)
    calibrate.add_argument("--data", type=Path, metavar="DIR", required=True, help="a folder of CSVs with labels.csv")
    calibrate.add_argument("--method", choices=_METHODS, default="temperature", help="isotonic wants 1000 rows or more")
    calibrate.add_argument("--output", type=Path, metavar="DIR", required=True, help="a models folder for the result")
    _add_rows_per_video(calibrate)
    calibrate.add_argument("--seed", type=_natural, default=0, help="of the split into rows to fit and to measure on")
    calibrate.set_defaults(command=partial(_carry_out_with, calibrate, {"data": _OF_VIDEOS}), action="calibrate")


def _add_models(commands: "Commands") -> None:
    models = commands.add_parser("models", help="list the models of a folder")
    _add_models_dir(models)
    models.add_argument("--json", action="store_true", help="print each model as one line of JSON")
    models.set_defaults(command=_carry_out, action="models")


def _add_import(commands: "Commands") -> None:
    importing = commands.add_parser("import-model", help="serve an ONNX or torch.export model made elsewhere")
    importing.add_argument("file", type=Path, metavar="FILE", help="an .onnx or .pt2 file; docs/models.md says more")
    importing.add_argument("--name", required=True, help="what to call the model")
    importing.add_argument(
        "--models-dir", type=Path, required=True, metavar="DIR", help="the models folder to write to"
    )
    importing.add_argument("--backend", choices=get_args(Backend), required=True, help="whose features it takes")
    importing.add_argument("--output", choices=("logit", "probability"), required=True, help="what it gives")
    importing.add_argument(
        "--license", type=_text, required=True, help="under which the model may be used, such as Apache-2.0"
    )
    importing.add_argument("--threshold", type=float, default=0.5, help="fake is what scores above it (default: 0.5)")
    importing.add_argument("--card", type=Path, metavar="FILE", help="its model card, in Markdown")
    importing.set_defaults(command=_carry_out, action="import-model")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="NAME[@VERSION]", help="default: shipped")
    _add_models_dir(parser)
    parser.add_argument("--backend", choices=get_args(Backend), help="whose features; unless VERSION says it: facemesh")


def _add_models_dir(parser: argparse.ArgumentParser) -> None:
    default = PredictorSettings().models_dir
    parser.add_argument("--models-dir", type=Path, default=default, help="default: MODELS_DIR, or those shipped")


def _add_rows_per_video(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows-per-video", type=_count, help=f"evenly spread (default: {_ROWS_PER_VIDEO})")


def _carry_out(args: argparse.Namespace) -> int:
    from serve_app import model_commands  # noqa: PLC0415 - torch takes seconds to import

    return model_commands.COMMANDS[args.action](args)


def _carry_out_evaluate(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if args.data is None and not args.check_set:
        args.simulated = args.simulated or _SIMULATED
    return _carry_out_with(parser, {"data": _OF_VIDEOS, "simulated": _OF_SIMULATION}, args)


def _carry_out_with(
    parser: argparse.ArgumentParser, partners: Mapping[str, Mapping[str, object]], args: argparse.Namespace
) -> int:
    """Carry out a command some of whose options mean nothing without another one: then they are refused."""
    for partner, defaults in partners.items():
        for option, default in defaults.items():
            if getattr(args, option) is None:
                setattr(args, option, default)
            elif getattr(args, partner) is None:
                parser.error(f"--{option.replace('_', '-')} is nothing without --{partner}")
    return _carry_out(args)


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it must not be empty")
    return text


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _count(text: str) -> int:
    if (value := _natural(text)) == 0:
        raise argparse.ArgumentTypeError("it must be 1 at least")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and up to 1")
    return value
