"""What a process says, whichever way its words are cut."""

import os
from collections.abc import Iterator

import pytest

from serve_app.extractors.openface.output import Output

Pipes = tuple[Output, int, int]


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """An Output on two pipes that know three slots, and the ends to write into."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    slots = {b"a0.bin": 0, b"b0.bin": 1, b"c0.bin": 2}
    output = Output(os.fdopen(out_read, "rb", buffering=0), os.fdopen(err_read, "rb", buffering=0), slots)
    yield output, out_write, err_write
    os.close(out_write)
    os.close(err_write)
    output.close()


def test_a_slot_that_is_asked_for_is_noted(pipes: Pipes) -> None:
    """Also behind a progress mark, on the same line."""
    output, stdout, _ = pipes
    assert output.asked == -1
    os.write(
        stdout, b"Attempting to read from file: a0.bin\nStarting tracking\n0% Attempting to read from file: b0.bin\n"
    )
    output.wait(1)
    assert output.asked == 1


def test_half_a_line_is_waited_for(pipes: Pipes) -> None:
    """A pipe may be read in the middle of it."""
    output, stdout, _ = pipes
    asked = []
    for part in (b"0% Attempting to read from", b" file: b", b"0.bin", b"\n"):
        os.write(stdout, part)
        output.wait(1)
        asked.append(output.asked)
    assert asked == [-1, -1, -1, 1]


def test_names_that_are_no_slots_are_ignored(pipes: Pipes) -> None:
    """Whatever a process prints."""
    output, stdout, _ = pipes
    os.write(stdout, b"Attempting to read from file: /etc/passwd\n")
    output.wait(1)
    assert output.asked == -1


def test_the_last_words_are_of_both_streams(pipes: Pipes) -> None:
    """A few lines of them."""
    output, stdout, stderr = pipes
    os.write(stdout, b"".join(b"loading %d\n" % number for number in range(9)))
    output.wait(1)
    os.write(stderr, b"cannot open the model\n")
    output.wait(1)
    assert output.last_words == "loading 6 | loading 7 | loading 8 | cannot open the model"
    assert not output.ended


def test_the_last_words_hold_what_it_complained_of_before(pipes: Pipes) -> None:
    """It goes on loading without its landmark model, and says much else."""
    output, stdout, _ = pipes
    complaints = b"Could not find the landmark detection model to load\nCouldn't open the model file, aborting\n"
    os.write(stdout, 2 * complaints + b"".join(b"Reading %d\n" % number for number in range(9)))
    output.wait(1)
    expected = [*complaints.decode().splitlines(), *(f"Reading {number}" for number in range(5, 9))]
    assert output.last_words.split(" | ") == expected
