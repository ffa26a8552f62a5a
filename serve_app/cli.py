"""The command line: ``deepfake-serve run | predict | demo | doctor | fetch-weights``, and ``model_options``."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path

import requests
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from serve_app import __version__, launcher, portraits
from serve_app.addresses import free_port
from serve_app.client import Answer, BatchDeepfakeClient, ServiceRefused, file_name
from serve_app.console import frame_progress, show_answer
from serve_app.demo import fetch_portrait, talking_head_frames
from serve_app.errors import ServiceError, TooManyFrames, in_one_line
from serve_app.extractors.facemesh.weights import fetch_weights
from serve_app.frames import ACCEPTED_EXTENSIONS
from serve_app.model_options import add_model_commands
from serve_app.portraits import PEOPLE
from serve_app.settings import DEFAULT_MODEL, MAX_FRAMES, ExtractorSettings, LaunchSettings, cache_dir

_SERVICE_URL = "http://127.0.0.1:8001"
_START_TIMEOUT_S = 240.0
_EXIT_FAILED, _EXIT_INTERRUPTED = 1, 130  # 128 and the signal's number, as shells have it
_FINDING_STYLES = {"ok": "green", "absent": "yellow", "broken": "bold red"}

_out = Console()
_err = Console(stderr=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. Expected failures are one line on stderr, and so is Ctrl-C."""
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without bars or accents shows a question mark
    try:
        return int(args.command(args))
    except ServiceRefused as exc:
        _say(f"[red]refused[/] ({exc.status} {exc.code}): {escape(str(exc))}")
    except requests.RequestException as exc:
        _say(f"[red]the service cannot be reached[/]: {escape(str(exc))}")
    except ValidationError as exc:
        _say(f"[red]error[/]: {escape(in_one_line(exc))}")
    except (ServiceError, OSError, UnicodeError) as exc:  # the last: an argument that is no text
        _say(f"[red]error[/]: {escape(str(exc))}")
    except KeyboardInterrupt as exc:
        _say(f"interrupted: {exc}" if str(exc) else "interrupted")
        return _EXIT_INTERRUPTED
    return _EXIT_FAILED


def _say(line: str) -> None:
    """Print a line of markup on stderr, which stays one: wrapped, a path in it would be cut."""
    _err.print(line, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deepfake-serve", description="Deepfake detection for video frames.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="start the service here; HOST and PORT are honoured")
    run.add_argument("--config", type=Path, default=Path("configs/dev.yaml"))
    run.set_defaults(command=_run)

    predict = commands.add_parser("predict", help="score frames with a running service")
    predict.add_argument("paths", nargs="+", type=Path, metavar="FILES|DIR", help="images, or folders of images")
    predict.add_argument("--url", default=_SERVICE_URL, help=f"the service (default: {_SERVICE_URL})")
    predict.add_argument("--model", default=DEFAULT_MODEL, help=f"the model (default: {DEFAULT_MODEL})")
    predict.add_argument("--session-id", help="the session's name; one request of up to 30 frames only")
    predict.add_argument("--threshold", type=float, help="call fake what scores above this, in place of the model's")
    predict.add_argument("--reasons", action="store_true", help="say what parts of each face drove its score")
    predict.add_argument("--keep-csv", action="store_true", help="keep the CSVs in the service's OUTPUT_DIR")
    predict.add_argument("--json", action="store_true", help="print each answer as one line of JSON")
    predict.set_defaults(command=_predict)

    demo = commands.add_parser("demo", help="start the service, score 30 frames of a face, stop it")
    demo.add_argument("--frames", type=Path, help="a folder of images, in place of the public-domain portrait")
    demo.add_argument("--config", type=Path, default=Path("configs/dev.yaml"))
    demo.add_argument("--since", type=float, default=None, help="Unix time from which the first answer is timed")
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser("doctor", help="say what this installation has and lacks, and what to do about it")
    doctor.add_argument("--config", type=Path, default=Path("configs/dev.yaml"))
    doctor.add_argument("--json", action="store_true", help="print each finding as one line of JSON")
    doctor.set_defaults(command=_doctor)

    add_model_commands(commands)

    fetch = commands.add_parser("fetch-weights", help="download the face-mesh networks into the cache, once")
    fetch.add_argument("--portrait", action="store_true", help="and the public-domain portraits")
    fetch.set_defaults(command=_fetch_weights)
    return parser


def _run(args: argparse.Namespace) -> int:
    launcher.run_in_place(args.config, LaunchSettings())


def _predict(args: argparse.Namespace) -> int:
    frame_paths = _image_paths(args.paths)
    if args.session_id and len(frame_paths) > MAX_FRAMES:
        raise TooManyFrames(f"--session-id names one request of {MAX_FRAMES} frames, not of {len(frame_paths)}")
    answers: list[Answer] = []
    try:
        _request(args, frame_paths, answers.append)
    finally:  # also where a later request of a long run failed
        _show(answers, frame_paths, as_json=args.json)
    return 0 if any(answer["summary"]["scored_frames"] for answer in answers) else _EXIT_FAILED


def _request(args: argparse.Namespace, frame_paths: Sequence[Path], on_answer: Callable[[Answer], None]) -> None:
    """Have all frames scored, in as many requests as they take."""
    fields = {} if args.threshold is None else {"threshold": args.threshold}
    fields |= {"include": "reasons"} if args.reasons else {}
    with BatchDeepfakeClient(args.url) as client, frame_progress(_err, len(frame_paths)) as (progress, bar):
        for start in range(0, len(frame_paths), MAX_FRAMES):
            events = client.stream_batch(
                frame_paths[start : start + MAX_FRAMES],
                args.session_id,
                args.model,
                cleanup=not args.keep_csv,
                **fields,
            )
            for name, body in events:
                if name == "result":
                    on_answer(body)
                else:
                    progress.advance(bar)


def _show(answers: Sequence[Answer], frame_paths: Sequence[Path], *, as_json: bool) -> None:
    for index, answer in enumerate(answers):
        if as_json:
            sys.stdout.write(json.dumps(answer) + "\n")
        else:
            files = frame_paths[index * MAX_FRAMES : (index + 1) * MAX_FRAMES]
            show_answer(_out, answer, [file_name(path) for path in files])


def _image_paths(paths: Sequence[Path]) -> list[Path]:
    """Expand folders to their images, by name; files are taken as they are."""
    frame_paths: list[Path] = []
    for path in paths:
        if path.is_dir():
            images = (file for file in path.iterdir() if file.suffix.lower() in ACCEPTED_EXTENSIONS)
            frame_paths += sorted(file for file in images if file.is_file())
        else:
            frame_paths.append(path)
    if not frame_paths:
        raise FileNotFoundError(f"no {', '.join(ACCEPTED_EXTENSIONS)} file in {', '.join(map(str, paths))}")
    return frame_paths


def _demo(args: argparse.Namespace) -> int:
    began = args.since or time.time()
    chosen = _frames_in(args.frames) if args.frames else None  # before anything is downloaded or started for them
    fetch_weights(ExtractorSettings().weights_dir)
    with tempfile.TemporaryDirectory(prefix="deepfake-demo-") as folder:
        frame_paths = chosen or _frames_in(_write_portrait_frames(Path(folder)))
        launch = LaunchSettings()
        launch = launch.model_copy(update={"port": launch.port or free_port()})
        log = cache_dir() / "demo.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        _say(f"starting the service on port {launch.port}; its log: {log}")
        with launcher.running_service(args.config, launch, log=log, start_timeout_s=_START_TIMEOUT_S) as url:
            ready_s = time.time() - began
            status = main(["predict", "--url", url, *map(str, frame_paths)])
            answered_s = time.time() - began
        _say(f"ready after {ready_s:.1f} s" + (f", answered after {answered_s:.1f} s" if status == 0 else ""))
    return status


def _frames_in(folder: Path) -> list[Path]:
    """The first frames of a folder, as many as a request takes; raises FileNotFoundError where there is none."""
    folder.stat()
    return _image_paths([folder])[:MAX_FRAMES]


def _write_portrait_frames(folder: Path) -> Path:
    for index, image in enumerate(talking_head_frames(fetch_portrait(cache_dir()))):
        (folder / f"frame_{index:04d}.jpg").write_bytes(image)
    return folder


def _doctor(args: argparse.Namespace) -> int:
    from serve_app.doctor import examine  # noqa: PLC0415 - torch takes seconds to import

    n_broken = 0
    for finding in examine(launcher.read_args(args.config)):
        n_broken += finding.status == "broken"
        if args.json:
            sys.stdout.write(json.dumps(asdict(finding)) + "\n")
        else:
            status = f"[{_FINDING_STYLES[finding.status]}]{finding.status:>6}[/]"
            _out.print(f"{status}  {finding.name:<10}  {escape(finding.detail)}", highlight=False, soft_wrap=True)
            if finding.remedy:
                _out.print(f"{'':>20}{escape(finding.remedy)}", highlight=False, soft_wrap=True)
    return _EXIT_FAILED if n_broken else 0


def _fetch_weights(args: argparse.Namespace) -> int:
    weights_dir = ExtractorSettings().weights_dir
    fetch_weights(weights_dir)
    if args.portrait:
        for person in PEOPLE:
            portraits.fetch(person, cache_dir())
    _say(f"the face-mesh networks are in {weights_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
