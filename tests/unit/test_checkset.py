"""The image-level check set, in small."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.checkset import SHOTS, CheckSet, make_check_set
from serve_app.errors import RowsUnusable, WeightsMissing
from serve_app.faceswap import SwapFamily
from serve_app.settings import cache_dir

Progress = list[tuple[int, int]]


@pytest.fixture(scope="module")
def told() -> Progress:
    """What was told while the set was made."""
    return []


def make(told: Progress) -> CheckSet:
    """Make two frames of each clip of the smallest shot."""
    return make_check_set(
        cache_dir(), "facemesh", shots=SHOTS[4:5], n_frames=2, on_clip=lambda done, total: told.append((done, total))
    )


@pytest.fixture(scope="module")
def check_set(told: Progress) -> CheckSet:
    return make(told)


def test_every_person_is_seen_real_and_in_every_family(check_set: CheckSet) -> None:
    """Two frames of each clip, and a face found in all of them."""
    clips = {(person, family) for person, family in zip(check_set.person, check_set.family, strict=True)}
    families = {"real", *(family.value for family in SwapFamily)}
    assert clips == {(person, family) for person in ("collins", "hopper") for family in families}
    np.testing.assert_array_equal(np.bincount(check_set.video), np.full(8, 2))


def test_labels_follow_from_the_families(check_set: CheckSet) -> None:
    """And there is a row for each."""
    np.testing.assert_array_equal(check_set.labels, check_set.family != "real")
    assert check_set.features.shape == (16, 674)
    assert len(check_set) == 16


def test_a_swap_is_not_its_target(check_set: CheckSet) -> None:
    """The rows of every clip differ from those of the real clip it was made from."""
    for person in ("collins", "hopper"):
        rows = check_set.person == person
        real, *fakes = (
            check_set.features[rows & (check_set.video == video)] for video in dict.fromkeys(check_set.video[rows])
        )
        assert all(np.abs(fake - real).max() > 1.0 for fake in fakes)


def test_the_set_is_the_same_every_time(check_set: CheckSet) -> None:
    """Its numbers can be compared between models and days."""
    np.testing.assert_array_equal(make([]).features, check_set.features)


@pytest.mark.usefixtures("check_set")
def test_progress_counts_the_clips(told: Progress) -> None:
    """To the announced total."""
    assert told == [(done, 8) for done in range(1, 9)]


def test_a_set_without_a_face_is_refused() -> None:
    """Pictures too small to show one say nothing about a model."""
    tiny = replace(SHOTS[0], size=(24, 24))
    with pytest.raises(RowsUnusable, match="no face in any of the 2 frames"):
        make_check_set(cache_dir(), "facemesh", shots=[tiny], n_frames=1)


def test_nothing_is_downloaded_before_the_networks_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to fetch them."""

    def refuse(*_: object) -> bytes:
        pytest.fail("a portrait was fetched")

    monkeypatch.setenv("DEEPFAKE_SERVE_CACHE", str(tmp_path))
    monkeypatch.setattr("serve_app.portraits.fetch", refuse)
    with pytest.raises(WeightsMissing, match="deepfake-serve fetch-weights"):
        make_check_set(tmp_path, "facemesh")
