"""Datasets: labelled rows of a folder of OpenFace CSVs, and their split into parts that share no person.

``labels.csv`` in that folder names the CSVs, one line for a video or for a glob of videos:

path      a CSV of a video, a folder of CSVs of one frame each, or a glob of such; relative to the folder
label     ``real`` or ``fake``, or 0 or 1
video     optional: the video's name; each CSV, or folder, is a video of its own otherwise
identity  optional: whose face it is
family    optional: how fakes were made
source    optional: the ``video`` that a fake was made from

Videos that share an identity or a source, however many videos lie between them, are one group.
"""

import csv
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serve_app.errors import DatasetInvalid, RowsUnusable, TableError
from serve_app.features.schema import FEATURE_COUNT
from serve_app.features.table import read_rows
from serve_app.models.evaluation import REAL, ScoredRows, require_both_classes, yaw_deg_of
from serve_app.models.simulation import SimulatedRows

logger = logging.getLogger(__name__)

LABELS_FILE = "labels.csv"

_COLUMNS = ("path", "label", "video", "identity", "family", "source")
_NEEDED_COLUMNS = _COLUMNS[:2]
_LABELS: Mapping[str, float] = {"real": 0.0, "0": 0.0, "fake": 1.0, "1": 1.0}
_NAME_OF_ESTIMATES = re.compile("(.*_)?(low|high|simulated)")  # auc_low is the lower bound of auc, not of a family
_FAKE = "fake"  # the family of fakes of no known family


@dataclass(frozen=True)
class LabelledRows:
    """``n`` rows: ``features`` ``(n, 674) float32``, ``labels`` ``(n,) float32``, 0 real and 1 fake.

    ``family`` ``(n,)`` is "real" or how the fake was made; no person is in two of the ``group`` ``(n,)``, from 0.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    family: npt.NDArray[np.str_]
    group: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_simulation(cls, rows: SimulatedRows) -> "LabelledRows":
        """Take simulated rows, grouped by identity."""
        return cls(rows.features, rows.labels, rows.family, rows.identity)

    @classmethod
    def joined(cls, first: "LabelledRows", second: "LabelledRows") -> "LabelledRows":
        """Append other people's rows."""
        apart = replace(second, group=second.group + first.group.max() + 1)
        return cls(*(np.concatenate([getattr(rows, field.name) for rows in (first, apart)]) for field in fields(cls)))

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "LabelledRows":
        """Choose rows by index, or by a mask."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def scored(self, scores: npt.NDArray[np.floating]) -> ScoredRows:
        """Put beside the rows what a model made of them: P(fake), ``(n,)``."""
        return ScoredRows(scores, self.labels, self.family, self.group, yaw_deg_of(self.features))


@dataclass(frozen=True)
class _Video:
    """One video: what ``line`` of the labels file says of it, and its ``csvs``."""

    line: int
    name: str
    csvs: tuple[Path, ...]
    label: float
    identity: str
    family: str
    source: str


def load_dataset(folder: Path, *, rows_per_video: int, min_confidence: float) -> LabelledRows:
    """Read a folder of CSVs and its labels file: of each video up to ``rows_per_video`` evenly spread rows.

    Rows without a face, or with one less sure than ``min_confidence``, are left out.

    Raises:
        DatasetInvalid: the labels file, or a CSV it names, is absent or is not what it should be.
    """
    labels_file = folder / LABELS_FILE
    videos = _read_videos(labels_file)
    groups = _group_videos(labels_file, videos)
    features = [_read_video(video, rows_per_video, min_confidence) for video in videos]
    n_rows = [len(rows) for rows in features]
    if 0 in n_rows:
        blind = videos[n_rows.index(0)].csvs[0]
        logger.warning("%d of %d videos show no face surely; the first is %s", n_rows.count(0), len(videos), blind)
    if not any(n_rows):
        raise DatasetInvalid(f"{labels_file}: no row of its {len(videos)} videos shows a face surely enough")
    return LabelledRows(
        features=np.concatenate(features),
        labels=np.repeat(np.array([video.label for video in videos], np.float32), n_rows),
        family=np.repeat([video.family for video in videos], n_rows),
        group=np.repeat(groups, n_rows),
    )


def split_rows(rows: LabelledRows, shares: Sequence[float], seed: int) -> list[LabelledRows]:
    """Split rows into parts of about these ``shares``, which sum to 1: whole groups at random, by ``seed``.

    Raises:
        RowsUnusable: no row is real, or none is a fake; or it would be so in a part.
    """
    require_both_classes(rows.labels, "split rows into parts")
    groups, n_rows = np.unique(rows.group, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    middles = (np.cumsum(n_rows[order]) - n_rows[order] / 2) / len(rows)
    part_of = np.empty(len(groups), int)
    part_of[order] = np.searchsorted(np.cumsum(shares)[:-1], middles)
    row_part = part_of[np.searchsorted(groups, rows.group)]
    parts = [rows.take(row_part == part) for part in range(len(shares))]
    for share, part in zip(shares, parts, strict=True):
        if len(np.unique(part.labels)) < 2:
            raise RowsUnusable(
                f"{len(groups)} groups of people are too few, or too unequal (the largest has {n_rows.max()} of "
                f"{len(rows)} rows), to split: a part of {share:.0%} lacks real rows or fakes; add people, or check "
                "the columns identity and source"
            )
    return parts


def _read_videos(labels_file: Path) -> list[_Video]:
    try:
        with labels_file.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets write a byte order mark
            reader = csv.DictReader(stream, skipinitialspace=True, strict=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            _check_columns(labels_file, reader.fieldnames)
            videos = [video for cells in reader for video in _videos_of(labels_file, reader.line_num, cells)]
    except OSError as exc:
        raise DatasetInvalid(
            f"{labels_file} cannot be read: {exc.strerror}; docs/training.md says how to make it"
        ) from exc
    except (csv.Error, UnicodeDecodeError) as exc:
        raise DatasetInvalid(f"{labels_file} is not a CSV in UTF-8: {exc}") from exc
    if not videos:
        raise DatasetInvalid(f"{labels_file} names no video; add lines below its header")
    _check_named_once(labels_file, videos)
    return videos


def _check_columns(labels_file: Path, names: Sequence[str]) -> None:
    missing = [name for name in _NEEDED_COLUMNS if name not in names]
    unknown = [name for name in names if name not in _COLUMNS]
    if missing or unknown:
        fault = f"column {missing[0]} is missing" if missing else f"column {unknown[0]!r} is unknown"
        raise DatasetInvalid(
            f"{labels_file}, line 1: {fault}; the columns are {', '.join(_COLUMNS)}, separated by commas"
        )


def _videos_of(labels_file: Path, line: int, cells: Mapping[str, str | None]) -> Iterator[_Video]:
    """The videos of one line: one, or as many as its glob matches."""
    if None in cells or None in cells.values():
        raise DatasetInvalid(f"{labels_file}, line {line}: it has more or fewer cells than the header")
    path, label, video, identity, family, source = ((cells.get(name) or "").strip() for name in _COLUMNS)
    if label.lower() not in _LABELS:
        raise DatasetInvalid(f"{labels_file}, line {line}, column label: {label!r} is none of {', '.join(_LABELS)}")
    is_fake = _LABELS[label.lower()]
    if not is_fake and (family or REAL, source) != (REAL, ""):
        raise DatasetInvalid(f"{labels_file}, line {line}: family and source are of fakes; leave them empty for a real")
    if _NAME_OF_ESTIMATES.fullmatch(family):
        raise DatasetInvalid(f"{labels_file}, line {line}, column family: metrics end in {family!r}; call it otherwise")
    places = _places(labels_file, line, path)
    by_name = {video: places} if video else {str(place.relative_to(labels_file.parent)): [place] for place in places}
    for name, own_places in by_name.items():
        csvs = tuple(csv for place in own_places for csv in _csvs(place) if csv != labels_file)
        if not csvs:
            raise DatasetInvalid(f"{labels_file}, line {line}, column path: the folder {name} holds no .csv file")
        yield _Video(line, name, csvs, is_fake, identity, (family or _FAKE) if is_fake else REAL, source)


def _places(labels_file: Path, line: int, path: str) -> list[Path]:
    """The CSVs and folders that a cell of column path means, at least one."""
    folder, relative = labels_file.parent, Path(path)
    if not path or relative.is_absolute():
        raise DatasetInvalid(f"{labels_file}, line {line}, column path: {path!r} is no path relative to {folder}")
    try:  # a name is first of all itself: downloaded videos have brackets in theirs
        matches = [folder / relative] if (folder / relative).exists() else sorted(folder.glob(path))
    except ValueError as exc:
        raise DatasetInvalid(f"{labels_file}, line {line}, column path: {path!r} is no glob: {exc}") from exc
    places = [match for match in matches if match.is_dir() or (match.suffix == ".csv" and match != labels_file)]
    if not places:
        raise DatasetInvalid(f"{labels_file}, line {line}, column path: no folder or .csv in {folder} is {path!r}")
    return places


def _csvs(place: Path) -> list[Path]:
    return sorted(place.glob("*.csv")) if place.is_dir() else [place]


def _check_named_once(labels_file: Path, videos: Sequence[_Video]) -> None:
    lines: dict[str, int] = {}
    for video in videos:
        for path in video.csvs:
            file = os.path.realpath(path)  # which may be named in several ways, as a.csv and as x/../a.csv
            if file in lines:
                raise DatasetInvalid(f"{labels_file}, line {video.line}: line {lines[file]} has named {path} already")
            lines[file] = video.line


def _group_videos(labels_file: Path, videos: Sequence[_Video]) -> npt.NDArray[np.intp]:
    """Number the groups of videos that identities and sources connect: ``(n_videos,)``, from 0."""
    names = {video.name for video in videos}
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parents.setdefault(node, node) != node:
            parents[node] = node = parents[parents[node]]  # halves the way of the next: thousands share a person
        return node

    for video in videos:
        if video.source and video.source not in names:
            raise DatasetInvalid(
                f"{labels_file}, line {video.line}, column source: {video.source!r} is no video of this file; "
                "name one as its column video does, or leave it empty"
            )
        for node in (("identity", video.identity), ("video", video.source)):
            if node[1]:
                parents[root(node)] = root(("video", video.name))
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(root(("video", video.name)), len(numbers)) for video in videos])


def _read_video(video: _Video, limit: int, min_confidence: float) -> npt.NDArray[np.float32]:
    """Read up to ``limit`` rows ``(n, 674)`` of a video, evenly spread over its files and over the rows of each."""
    spread = np.linspace(0, len(video.csvs) - 1, min(limit, len(video.csvs))).round().astype(int)
    parts = [np.empty((0, FEATURE_COUNT), np.float32)]
    for path in (video.csvs[index] for index in spread):
        try:
            parts.append(read_rows(path.read_bytes(), min_confidence=min_confidence, limit=limit // len(spread)))
        except TableError as exc:
            raise DatasetInvalid(f"{path}: {exc}; extract it again") from exc
        except OSError as exc:
            raise DatasetInvalid(f"{path} cannot be read: {exc.strerror}") from exc
    return np.concatenate(parts)
