#!/usr/bin/env -S python3 -I -S
"""A stand-in for OpenFace's FeatureExtraction: same command line, same output, no face recognition.

It reads each ``-f`` in turn (a FIFO or a file), and writes a CSV whose numbers follow from the picture's bytes.
A picture that ends in ``FAKE:<failure>`` brings that failure about: no_csv, truncated, two_rows, few_values, hang,
segfault, exit, no_face, partial_line, stderr_flood, stop_reading, slow. The original ignores arguments that it does
not know, and here they switch failures of a whole process on:

    -fake_load SECONDS  -fake_generation 2.2  -fake_exit_at_start  -fake_no_fifos  -fake_few_columns
    -fake_starts FILE COUNT     all starts but the first COUNT fail; FILE keeps the count
    -fake_killed_once FILE      the first start is killed; FILE says that it was
    -fake_patience SECONDS      a slot that is empty for longer cannot be opened, as with OpenCV after 30 s
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

MARK = b"FAKE:"


def column_names() -> list[str]:
    """The 679 columns, in OpenFace's order."""
    names = ["frame", "face_id", "timestamp", "confidence", "success"]
    names += [f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"] + ["gaze_angle_x", "gaze_angle_y"]
    names += [f"eye_lmk_{axis}_{i}" for axis in "xyXYZ" for i in range(56)]
    names += [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"]
    names += [f"{axis}_{i}" for axis in "xyXYZ" for i in range(68)]
    names += ["p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty"] + [f"p_{i}" for i in range(34)]
    return names


def row(picture: bytes, n_columns: int, *, face: bool) -> list[str]:
    """Frame 1, then numbers that follow from the bytes; without a face the dirt of a warm process."""
    numbers = (hashlib.sha256(picture).digest() * (n_columns // 32 + 1))[5:n_columns]
    metadata = ["1", "0", "0.000", "0.98", "1"] if face else ["1", "0", "0.000", "0.00", "0"]
    return metadata + [f"{number / 7:.3f}" for number in numbers]


def option(name: str, default: str = "") -> str:
    """The argument after ``name``."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def start() -> None:
    """Load, or fail to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a busy one does not listen
    if "-fake_starts" in sys.argv:
        path, allowed = sys.argv[sys.argv.index("-fake_starts") + 1 :][:2]
        with Path(path).open("a+") as starts:
            starts.write(".")
            starts.seek(0)
            if len(starts.read()) > int(allowed):
                sys.exit(3)
    killed = option("-fake_killed_once")
    if killed and not Path(killed).exists():
        Path(killed).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "-fake_exit_at_start" in sys.argv:
        sys.stderr.write("Couldn't open the model file, aborting\n")
        sys.exit(1)
    time.sleep(float(option("-fake_load", "0")))


def fail_at_once(failure: str) -> None:
    """What ends the work on a picture before there is a CSV."""
    if failure == "hang":
        while True:
            time.sleep(60)
    if failure == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if failure == "exit":
        sys.exit(0)
    if failure == "stderr_flood":
        sys.stderr.write("[h264] overread 8\n" * 30_000)
    if failure == "slow":
        time.sleep(0.4)


def write_csv(path: Path, picture: bytes, failure: str) -> None:
    """Write what OpenFace would, or what the failure makes of it."""
    comma = "," if option("-fake_generation") == "2.2" else ", "
    names = column_names()[: 11 if "-fake_few_columns" in sys.argv else None]
    cells = row(picture, len(names), face=failure != "no_face")
    rows = [cells[:-1] if failure == "few_values" else cells] * (2 if failure == "two_rows" else 1)
    text = "\n".join(comma.join(cells) for cells in (names, *rows)) + "\n"
    path.write_text(text[: len(text) // 2] if failure == "truncated" else text)


def read_picture(name: str) -> bytes:
    """All that is written to the slot; a FIFO may be let go before its end."""
    with Path(name).open("rb", buffering=0) as slot:
        picture = b""
        while chunk := slot.read(65536):
            picture += chunk
            if b"FAKE:stop_reading" in picture:
                break
    return picture


def extract(name: str, out_dir: str) -> bool:
    """Work on one slot; say whether there is another to come."""
    say(f"Attempting to read from file: {name}\n")
    if not Path(name).exists() or ("-fake_no_fifos" in sys.argv and Path(name).is_fifo()):
        say(f"Failed to open the video file at location: {name}\n")
        return False
    asked = time.monotonic()
    picture = read_picture(name)
    if not picture or time.monotonic() - asked > float(option("-fake_patience", "30")):
        say(f"Failed to open the video file at location: {name}\n")
        return False
    failure = picture.rpartition(MARK)[2].decode() if MARK in picture[-40:] else ""
    say("Device or file opened\nStarting tracking\n")
    fail_at_once(failure)
    stem = Path(out_dir) / Path(name).stem
    stem.with_name(f"{stem.name}_of_details.txt").write_text("Input:\n")
    if failure != "no_csv":
        write_csv(stem.with_suffix(".csv"), picture, failure)
    say("0% ")
    if failure == "partial_line":
        say("Attempting to read fr")
        time.sleep(0.1)
        say("om file: nothing\n0% ")
    return True


def main() -> None:
    """Work through the slots."""
    start()
    names = [value for key, value in zip(sys.argv, sys.argv[1:], strict=False) if key == "-f"]
    for name in names:
        if not extract(name, option("-out_dir", "processed")):
            break


if __name__ == "__main__":
    main()
