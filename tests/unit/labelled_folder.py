"""A folder of labelled CSVs, as a person would make one of videos, written from simulated rows."""

import csv
from pathlib import Path

import numpy as np

from serve_app.features.table import write_features
from serve_app.models.dataset import LABELS_FILE
from serve_app.models.simulation import SimulatedRows


def write_labelled_folder(folder: Path, rows: SimulatedRows) -> Path:
    """Write one CSV for the real rows of each identity, and one for its fakes of each family."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LABELS_FILE).open("w", newline="") as stream:
        labels = csv.writer(stream)
        labels.writerow(["path", "label", "identity", "family"])
        for identity, family in sorted(set(zip(rows.identity.tolist(), rows.family.tolist(), strict=True))):
            of_video = (rows.identity == identity) & (rows.family == family)
            name, is_real = f"{identity}_{family}.csv", family == "real"
            csvs = [write_features(row.astype(np.float64), confidence=0.98) for row in rows.features[of_video]]
            (folder / name).write_bytes(csvs[0] + b"".join(csv.splitlines(keepends=True)[1] for csv in csvs[1:]))
            labels.writerow([name, "real" if is_real else "fake", f"person {identity}", "" if is_real else family])
    return folder
