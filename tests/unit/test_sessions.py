"""Kept sessions."""

import string
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import InvalidField
from serve_app.sessions import SessionStore, check_session_id, new_session_id
from serve_app.settings import IngressSettings

PLAIN = set(string.ascii_letters + string.digits + "_-")


@pytest.mark.parametrize("session_id", ["video_123", "A-b_9", "x" * 64, new_session_id()])
def test_plain_ids_pass(session_id: str) -> None:
    """What the seed's examples use, and what the service makes itself."""
    assert check_session_id(session_id) == session_id


@given(st.text().filter(lambda text: text == "" or set(text) - PLAIN))
def test_no_other_text_becomes_a_folder_name(session_id: str) -> None:
    """Separators, dots, spaces, line ends, other alphabets."""
    with pytest.raises(InvalidField):
        check_session_id(session_id)


def test_a_second_request_replaces_the_first_ones_csvs(tmp_path: Path) -> None:
    """A session holds one request's CSVs, never a mixture, and nothing else is left behind."""
    store = SessionStore(tmp_path / "output")
    store.keep("s", {"frame_0000.csv": b"a", "frame_0001.csv": b"b"})
    folder = store.keep("s", {"frame_0000.csv": b"c"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"frame_0000.csv": b"c"}
    assert [path.name for path in store.output_dir.iterdir()] == ["s"]


def test_a_relative_output_dir_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client knows nothing of the folder that the service was started in."""
    monkeypatch.setenv("OUTPUT_DIR", "kept")
    assert IngressSettings().output_dir == Path.cwd() / "kept"


def test_a_failed_write_leaves_the_old_session(tmp_path: Path) -> None:
    """Half a set is never seen."""
    store = SessionStore(tmp_path)
    store.keep("s", {"frame_0000.csv": b"old"})
    with pytest.raises(OSError, match="No such file"):
        store.keep("s", {"frame_0000.csv": b"new", "no/such/folder.csv": b""})
    assert (tmp_path / "s" / "frame_0000.csv").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("link", [True, False])
def test_what_is_no_folder_is_replaced_too(tmp_path: Path, link: bool) -> None:
    """A link, whose folder stays as it was, or a file; nothing else is left behind."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = SessionStore(tmp_path / "output")
    store.output_dir.mkdir()
    session = store.output_dir / "s"
    session.symlink_to(elsewhere) if link else session.touch()
    store.keep("s", {"frame_0000.csv": b"a"})
    assert [path.name for path in store.output_dir.iterdir()] == ["s"]
    assert ([path.name for path in session.iterdir()], elsewhere.is_dir()) == (["frame_0000.csv"], True)


def test_many_requests_with_one_session_id_spoil_nothing(tmp_path: Path) -> None:
    """One of them stays, whole."""
    store = SessionStore(tmp_path)
    sets = [{f"frame_{index:04d}.csv": bytes([number]) for index in range(5)} for number in range(60)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(partial(store.keep, "s"), sets))
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} in sets
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
