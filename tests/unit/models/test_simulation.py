"""Simulated rows: the same for the same seed, and consistent as an extractor's rows are."""

from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch

from serve_app.extractors.facemesh.fit import fit_face
from serve_app.features.geometry import Camera, rotation_from_euler
from serve_app.features.schema import COLUMN_DECIMALS, FEATURE_SLICES
from serve_app.features.shape import shape_from_params
from serve_app.models.network import DeepfakeNet
from serve_app.models.simulation import FakeFamily, SimulatedRows, simulate
from serve_app.models.simulation.anatomy import sample_heads
from serve_app.models.simulation.extractors import EXTRACTORS
from serve_app.models.simulation.fits import fit_reference, fit_stand_in
from serve_app.models.simulation.measurement import measure
from serve_app.models.simulation.scene import detect, render, sample_views
from serve_app.models.training import reference_tensors
from serve_app.settings import Backend

DECIMALS = np.array(COLUMN_DECIMALS[5:])


def test_the_same_seed_gives_the_same_rows() -> None:
    """And another seed others."""
    first, again, other = simulate(1, 20), simulate(1, 20), simulate(2, 20)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.family, again.family)
    assert not np.array_equal(first.features, other.features)


def test_every_fake_has_its_real(fresh_rows: SimulatedRows) -> None:
    """Paired by identity, as many of one as of the other, every family among them."""
    is_fake = fresh_rows.labels == 1
    np.testing.assert_array_equal(fresh_rows.identity[is_fake], fresh_rows.identity[~is_fake])
    assert set(fresh_rows.family[~is_fake]) == {"real"}
    assert set(fresh_rows.family[is_fake]) == set(FakeFamily)


def test_rows_are_finite_and_rounded_as_a_csv_is(fresh_rows: SimulatedRows) -> None:
    """What a network trains on must not be finer than what it will be given."""
    assert np.isfinite(fresh_rows.features).all()
    steps = fresh_rows.features.astype(np.float64) * 10.0**DECIMALS
    np.testing.assert_allclose(steps, np.round(steps), atol=0.1)  # float32 holds 6 digits and a bit


def test_gaze_is_a_unit_vector(fresh_rows: SimulatedRows) -> None:
    """To the decimals written."""
    gaze = fresh_rows.features[:, FEATURE_SLICES["gaze"]].reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(gaze, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("backend", get_args(Backend))
@pytest.mark.parametrize("family", FakeFamily)
def test_3d_points_project_onto_the_2d_points(family: FakeFamily, backend: Backend) -> None:
    """Of fakes too: x is linear in X / Z, exactly but for the rounding."""
    features = simulate(3, 40, backend=backend, families=[family]).features.astype(np.float64)
    x = features[:, FEATURE_SLICES["landmarks_2d"]][:, :68]
    X, _, Z = np.split(features[:, FEATURE_SLICES["landmarks_3d"]], 3, axis=1)
    for row in range(len(x)):
        fit = np.polynomial.Polynomial.fit(X[row] / Z[row], x[row], 1)
        assert np.abs(fit(X[row] / Z[row]) - x[row]).max() < 0.6


def test_depth_follows_from_the_shape_parameters(fresh_rows: SimulatedRows) -> None:
    """Z less its mean is the depth of the turned shape, to the rounding of 34 parameters and three angles."""
    row = fresh_rows.features[0].astype(np.float64)
    rotation = rotation_from_euler(row[FEATURE_SLICES["shape_camera"]][1:4])
    relief = shape_from_params(row[FEATURE_SLICES["shape"]]) @ rotation[2]
    Z = row[FEATURE_SLICES["landmarks_3d"]][136:]
    np.testing.assert_allclose(Z - Z.mean(), relief, atol=0.3)


def test_measuring_many_faces_is_what_the_extractor_does_with_one() -> None:
    """Feature by feature, but for the rounding; this holds the two copies of the arithmetic together."""
    rng = np.random.default_rng(5)
    heads, views = sample_heads(rng, 10, 2), sample_views(rng, 20)
    facemesh = EXTRACTORS["facemesh"]
    faces = detect(rng, render(heads, views), facemesh.noise)
    measured = measure(fit_reference(faces.landmarks, rng), faces.eyes, views.size, facemesh.eyeball_offset)
    for row in range(20):
        width, height = views.size[row].astype(int)
        extracted = fit_face(faces.landmarks[row], faces.eyes[row], Camera.of_image(width, height)).features()
        assert (np.abs(measured[row] - extracted) <= 0.5001 * 10.0**-DECIMALS + 2e-4 + 2e-6 * np.abs(extracted)).all()


def test_the_stand_in_follows_the_landmarks_it_is_fitted_to() -> None:
    """To a millimetre or two on the face, as OpenFace does, though another mean face is fitted to each."""
    rng = np.random.default_rng(6)
    faces = render(sample_heads(rng, 100, 1), sample_views(rng, 100))
    fit = fit_stand_in(faces.landmarks, rng)
    miss = np.linalg.norm(fit.landmarks - faces.landmarks[..., :2], axis=-1) / fit.scale[:, None]
    assert np.median(miss) < 1.2
    assert np.quantile(miss, 0.95) < 3.0


def test_faces_differ_as_adults_do() -> None:
    """By about the standard deviations of L. Farkas, "Anthropometry of the Head and Face" (1994), in mm."""
    faces = sample_heads(np.random.default_rng(7), 1000, 1).neutral

    def spread(first: int, second: int) -> float:
        return float(np.linalg.norm(faces[:, first] - faces[:, second], axis=1).std())

    bounds = {(27, 33): 3.3, (27, 8): 6.0, (48, 54): 3.3, (36, 45): 4.0, (4, 12): 5.0}
    for ends, deviation_mm in bounds.items():  # nose, face height, mouth, eyes, jaw
        assert 0.9 < spread(*ends) / deviation_mm < 1.5


@pytest.mark.parametrize("rows_of", ["fresh_rows", "fresh_openface_rows"])
def test_eyes_of_people_are_nearly_parallel(rows_of: str, request: pytest.FixtureRequest) -> None:
    """As both extractors see them on photographs: gazes part or cross by -0.25 to 0.25 rad, not all to one side."""
    rows: SimulatedRows = request.getfixturevalue(rows_of)
    gaze = rows.features[rows.labels == 0, FEATURE_SLICES["gaze"]]
    assert abs((gaze[:, 0] - gaze[:, 3]).mean()) < 0.25


@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_openface_rows_surround_real_ones(seed: int, golden_rows: npt.NDArray[np.float32]) -> None:
    """In the network's standardised inputs, real rows are no farther out than nine in ten simulated ones."""
    network = DeepfakeNet("openface")
    simulated = simulate(seed, 200, backend="openface")
    reals = torch.from_numpy(simulated.features[simulated.labels == 0])
    network.inputs.fit(reals, *reference_tensors())
    far, near = (
        torch.cat([points.flatten(1), measures], dim=1).square().mean(dim=1).sqrt()
        for points, measures in (network.inputs(torch.from_numpy(golden_rows)), network.inputs(reals))
    )
    assert far.median() < near.quantile(0.9)
