"""Cores for replicas."""

import os
from pathlib import Path

import pytest

from serve_app.errors import OpenFaceUnusable
from serve_app.extractors.openface.cores import claim_core


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lets us run on cores 4 and 7."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 4}, raising=False)


def test_each_replica_has_a_core_of_its_own(tmp_path: Path) -> None:
    """As long as there are free ones; then they share, and the log says so."""
    claims = [claim_core(tmp_path) for _ in range(3)]
    assert [claim and claim.core for claim in claims] == [4, 7, None]


def test_a_released_core_is_free_again(tmp_path: Path) -> None:
    """No file of it stays."""
    first = claim_core(tmp_path)
    assert first is not None
    first.release()
    first.release()
    assert list(tmp_path.iterdir()) == []
    again = claim_core(tmp_path)
    assert again is not None
    assert again.core == 4


def test_a_claim_of_a_dead_process_is_free(tmp_path: Path) -> None:
    """Its file stays, its lock does not."""
    (tmp_path / "core-4.lock").touch()
    claim = claim_core(tmp_path)
    assert claim is not None
    assert claim.core == 4


def test_a_lock_that_cannot_be_opened_says_whose_folder_to_take(tmp_path: Path) -> None:
    """Another user's, say; here a folder stands in its place."""
    (tmp_path / "core-4.lock").mkdir()
    with pytest.raises(OpenFaceUnusable, match=r"core-4\.lock'; set TEMP_DIR to a writable folder of this user's"):
        claim_core(tmp_path)


def test_where_cores_cannot_be_chosen_none_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS, say."""
    monkeypatch.delattr(os, "sched_setaffinity")
    assert claim_core(tmp_path) is None
