"""Datasets: a folder of CSVs and its labels file become rows, and split without a person in two parts."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.errors import DatasetInvalid, RowsUnusable
from serve_app.features.schema import FEATURE_COUNT
from serve_app.features.table import write_features
from serve_app.models.dataset import LABELS_FILE, LabelledRows, load_dataset, split_rows


def write_video(path: Path, *values: float, confidence: float = 0.98) -> None:
    """One row for each value, of which every feature has that value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    csvs = [write_features(np.full(FEATURE_COUNT, value), confidence=confidence) for value in values]
    path.write_bytes(csvs[0] + b"".join(csv.splitlines(keepends=True)[1] for csv in csvs[1:]))


def load(folder: Path, labels: str, rows_per_video: int = 8) -> LabelledRows:
    (folder / LABELS_FILE).write_text(labels)
    return load_dataset(folder, rows_per_video=rows_per_video, min_confidence=0.7)


@pytest.fixture
def faceforensics(tmp_path: Path) -> Path:
    """Three people: 000 and 003 swap faces, 007 keeps to himself."""
    for value, name in enumerate(
        ("original/000", "original/003", "original/007", "swapped/000_003", "swapped/003_000")
    ):
        write_video(tmp_path / f"{name}.csv", *[value] * 3)
    return tmp_path


FACEFORENSICS_LABELS = """\
path, label, video, identity, family, source
original/000.csv, real, 000, 000,,
original/003.csv, real, 003, 003,,
original/007.csv, real, 007, 007,,
swapped/000_003.csv, fake,, 003, face_swap, 000
swapped/003_000.csv, fake,, 000, face_swap, 003
"""


def test_rows_carry_what_their_line_says(faceforensics: Path) -> None:
    """Label and family of each row of each video, in the file's order."""
    rows = load(faceforensics, FACEFORENSICS_LABELS)
    assert rows.features.shape == (15, FEATURE_COUNT)
    assert rows.features[::3, 0].tolist() == [0, 1, 2, 3, 4]
    assert rows.labels[::3].tolist() == [0, 0, 0, 1, 1]
    assert rows.family[::3].tolist() == ["real", "real", "real", "face_swap", "face_swap"]


def test_whoever_lent_or_lost_a_face_is_in_one_group(faceforensics: Path) -> None:
    """000 and 003 are in each other's fakes; 007 is not."""
    groups = load(faceforensics, FACEFORENSICS_LABELS).group[::3]
    assert groups.tolist() == [0, 0, 1, 0, 0]


def test_every_match_of_a_glob_is_a_video_of_its_own(faceforensics: Path) -> None:
    """Two lines are a dataset, if nobody knows who is who."""
    rows = load(faceforensics, "path,label\noriginal/*.csv,0\nswapped/*.csv,1\n")
    assert rows.group[::3].tolist() == [0, 1, 2, 3, 4]
    assert rows.labels[::3].tolist() == [0, 0, 0, 1, 1]
    assert set(rows.family) == {"real", "fake"}


def test_a_folder_of_single_frames_is_one_video(tmp_path: Path) -> None:
    """As the service's extractor leaves them; evenly spread ones are read."""
    for frame in range(9):
        write_video(tmp_path / "video" / f"frame_{frame}.csv", frame)
    rows = load(tmp_path, "path,label\nvideo,real\n", rows_per_video=3)
    assert rows.features[:, 0].tolist() == [0, 4, 8]
    assert len(set(rows.group)) == 1


@pytest.mark.parametrize("path", ["clip [a1].csv", "."])
def test_a_path_that_exists_is_no_glob(tmp_path: Path, path: str) -> None:
    """Brackets in a downloaded video's name, say; and the labels file beside it is no video."""
    write_video(tmp_path / "clip [a1].csv", 1.0)
    assert len(load(tmp_path, f"path,label\n{path},real\n")) == 1


def test_a_labels_file_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """With its byte order mark, its line ends, its quotes and the rows it leaves empty."""
    write_video(tmp_path / "a, b.csv", 1.0)
    rows = load(tmp_path, '\ufeffpath,label\r\n"a, b.csv",REAL\r\n\r\n')
    assert rows.labels.tolist() == [0]


def test_spaces_in_the_header_are_no_part_of_its_names(tmp_path: Path) -> None:
    """Nor are they of the cells."""
    write_video(tmp_path / "a.csv", 1.0)
    assert load(tmp_path, "path , label\na.csv , real \n").labels.tolist() == [0]


def test_a_video_without_a_sure_face_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By its name; the others are read."""
    write_video(tmp_path / "blurred.csv", 1.0, confidence=0.3)
    write_video(tmp_path / "clear.csv", 1.0)
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path, "path,label\n*.csv,real\n")) == 1
    assert "1 of 2 videos" in caplog.text
    assert "blurred.csv" in caplog.text
    with pytest.raises(DatasetInvalid, match="no row"):
        load(tmp_path, "path,label\nblurred.csv,real\n")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("path,lable\na.csv,real\n", "line 1: column label is missing"),
        ("path;label\na.csv;real\n", "line 1: column path is missing; .* separated by commas"),
        ("path,label,sex\na.csv,real,f\n", "line 1: column 'sex' is unknown"),
        ("path,label\n", "names no video"),
        ("path,label\na.csv,real\na.csv,maybe\n", "line 3, column label: 'maybe'"),
        ("path,label\na.csv\n", "line 2: it has more or fewer cells"),
        ("path,label\na.csv,real,000\n", "line 2: it has more or fewer cells"),
        ("path,label\nb.csv,real\n", "line 2, column path: no folder or .csv in .* is 'b.csv'"),
        ("path,label\n/a.csv,real\n", "line 2, column path: '/a.csv' is no path relative"),
        ("path,label\n,real\n", "line 2, column path: '' is no path relative"),
        ("path,label\na**.csv,real\n", r"line 2, column path: 'a\*\*.csv' is no glob"),
        ("path,label\nempty,real\n", "line 2, column path: the folder empty holds no .csv"),
        ("path,label\na.csv,real\na.csv,fake\n", "line 3: line 2 has named .*a.csv already"),
        ("path,label\na.csv,real\nempty/../a.csv,fake\n", "line 3: line 2 has named .*a.csv already"),
        ("path,label,family\na.csv,real,face_swap\n", "line 2: family and source are of fakes"),
        ("path,label,family\na.csv,fake,low\n", "line 2, column family: metrics end in 'low'"),
        ("path,label,source\na.csv,fake,001\n", "line 2, column source: '001' is no video"),
        ("path,label\nbroken.csv,real\n", "broken.csv: line 2: column gaze_0_x holds 'nan'"),
    ],
)
def test_a_fault_names_its_file_line_and_column(tmp_path: Path, labels: str, message: str) -> None:
    """At 3 a.m. nobody wants to look for it."""
    (tmp_path / "empty").mkdir()
    write_video(tmp_path / "a.csv", 1.0)
    (tmp_path / "broken.csv").write_bytes((tmp_path / "a.csv").read_bytes().replace(b", 1.000000", b", nan", 1))
    with pytest.raises(DatasetInvalid, match=message):
        load(tmp_path, labels)


def test_a_missing_labels_file_is_a_typed_error(tmp_path: Path) -> None:
    """And says where to learn how to make it."""
    with pytest.raises(DatasetInvalid, match=r"labels\.csv cannot be read: No such file.*docs/training\.md"):
        load_dataset(tmp_path, rows_per_video=1, min_confidence=0.7)


def run_recipe(heading: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledRows:
    """Make the labels file as docs/training.md says under a heading, in a folder that holds ``csv/``."""
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    code = page.split(f"### {heading}\n")[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder)
    exec(code, {})  # noqa: S102 - our own page
    return load_dataset(folder / "csv", rows_per_video=8, min_confidence=0.7)


def test_the_recipe_for_faceforensics_keeps_pairs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pairs of people who lent each other their faces: two groups, by whichever method."""
    for name in ("real/000", "real/003", "real/005", "real/010", "Deepfakes/000_003", "FaceSwap/010_005"):
        write_video(tmp_path / "csv" / f"{name}.csv", 1.0)
    rows = run_recipe("FaceForensics++", tmp_path, monkeypatch)
    assert rows.family.tolist() == ["Deepfakes", "FaceSwap", "real", "real", "real", "real"]
    assert rows.group.tolist() == [0, 1, 0, 0, 1, 1]


def test_the_recipe_for_celeb_df_groups_by_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's videos and the fakes made from them; each video of a stranger by itself."""
    for name in ("Celeb-real/id0_0000", "Celeb-real/id0_0001", "Celeb-real/id1_0000", "YouTube-real/00000"):
        write_video(tmp_path / "csv" / f"{name}.csv", 1.0)
    write_video(tmp_path / "csv" / "Celeb-synthesis" / "id0_id1_0001.csv", 1.0)
    rows = run_recipe("Celeb-DF", tmp_path, monkeypatch)
    assert rows.labels.tolist() == [0, 0, 0, 1, 0]
    assert rows.group.tolist() == [0, 0, 1, 0, 2]


def grouped_rows(groups: list[int]) -> LabelledRows:
    n = len(groups)
    labels = np.tile(np.array([0, 1], np.float32), n // 2)
    return LabelledRows(np.zeros((n, FEATURE_COUNT), np.float32), labels, labels.astype(str), np.array(groups))


def test_no_group_is_in_two_parts() -> None:
    """Whole groups of unequal sizes; parts of about the shares; every row in one of them."""
    rows = grouped_rows(np.repeat(np.arange(100), np.resize([2, 4, 6], 100)).tolist())
    parts = split_rows(rows, (0.6, 0.2, 0.2), seed=1)
    groups = [set(part.group.tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 100
    np.testing.assert_allclose([len(part) / len(rows) for part in parts], (0.6, 0.2, 0.2), atol=0.03)


def test_a_seed_decides_the_split() -> None:
    """The same one, the same; another, another."""
    rows = grouped_rows(np.repeat(np.arange(50), 2).tolist())
    first, again, other = (split_rows(rows, (0.5, 0.5), seed)[0].group.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_people_too_connected_to_split_are_a_typed_error() -> None:
    """One group that holds nearly all rows leaves the other parts without a real or a fake."""
    with pytest.raises(RowsUnusable, match=r"2 groups of people .* largest has 98 of 100 rows"):
        split_rows(grouped_rows([0] * 98 + [1] * 2), (0.6, 0.2, 0.2), seed=1)


@pytest.mark.parametrize(("label", "missing"), [(0, "fake"), (1, "real")])
def test_rows_of_one_class_are_called_so(label: int, missing: str) -> None:
    """More people would not help."""
    rows = grouped_rows([0, 0, 1, 1])
    with pytest.raises(RowsUnusable, match=f"cannot split .* none of the 4 rows is {missing}"):
        split_rows(replace(rows, labels=np.full_like(rows.labels, label)), (0.5, 0.5), seed=1)
