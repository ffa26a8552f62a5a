"""Fits: the weak-perspective camera and the shape that explain a face's landmarks, as each extractor finds them.

OpenFace fits a point distribution model of its own, which is neither here nor known here. A stand-in, learnt
from simulated heads and never twice the same, takes its place.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import project_weak_perspective, rotation_from_euler
from serve_app.features.schema import N_LANDMARKS, N_SHAPE_PARAMS
from serve_app.features.shape import REFERENCE_SHAPE, params_from_shape, shape_from_params
from serve_app.models.simulation.anatomy import BROWS, JAW, sample_heads, smooth_field

Array = npt.NDArray[np.float64]

_STAND_IN_HEADS = 2000  # to learn the stand-in's modes from
_STAND_IN_SEED = 34
_FIT_ITERATIONS = 5  # Gauss-Newton converges in 3 or 4
_FIT_ERROR_MM = 0.5  # how far the stand-in trusts a landmark, against how far it lets a shape vary

# How far a stand-in's mean face lies from this project's reference. What the real OpenFace writes of one face lies
# 2.4 degrees of pitch, 1.3 mm in the picture's plane and 5 mm in depth from what the face mesh does: its depth comes
# from its model alone.
_MEAN_SHIFT_MM = np.array([1.5, 2.0, 4.5])
_MEAN_TURN = np.array([0.03, 0.015, 0.005])  # rad


@dataclass(frozen=True)
class Fit:
    """What explains ``n`` faces: a camera, a shape ``(n, 68, 3)`` mm, and the ``landmarks`` ``(n, 68, 2)`` px reported.

    ``scale`` ``(n,)`` px/mm, ``rotation`` ``(n, 3, 3)``, ``translation`` ``(n, 3)`` px, ``params`` ``(n, 34)`` mm.
    """

    scale: Array
    rotation: Array
    translation: Array
    params: Array
    shape: Array
    landmarks: Array


def fit_reference(landmarks: Array, _: np.random.Generator) -> Fit:
    """Bring the reference shape onto ``(n, 68, 3)`` px by a weighted similarity (Umeyama 1991), then let it deform."""
    reference_mean = _FIT_WEIGHTS @ REFERENCE_SHAPE
    centred = REFERENCE_SHAPE - reference_mean
    mean = np.einsum("p,npc->nc", _FIT_WEIGHTS, landmarks)
    covariance = np.einsum("npc,p,pd->ncd", landmarks - mean[:, None], _FIT_WEIGHTS, centred)
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.ones_like(singular)
    signs[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * signs[:, None]) @ vt
    scale = (singular * signs).sum(axis=1) / (_FIT_WEIGHTS @ (centred**2).sum(axis=1))
    translation = mean - scale[:, None] * (rotation @ reference_mean)
    params = params_from_shape((landmarks - translation[:, None]) @ rotation / scale[:, None, None])
    return Fit(scale, rotation, translation, params, shape_from_params(params), landmarks[..., :2])


def fit_stand_in(landmarks: Array, rng: np.random.Generator) -> Fit:
    """Fit stand-ins, another for each face, to the picture's plane alone; the landmarks reported are the model's.

    So does OpenFace at last: regularised Gauss-Newton, then the 2D points of the shape found (PDM.cpp).
    """
    means = _sample_means(rng, len(landmarks))
    modes, variances = _stand_in()
    fit = fit_reference(landmarks, rng)
    fit = replace(fit, params=np.zeros_like(fit.params), shape=means)
    for _ in range(_FIT_ITERATIONS):
        fit = _improve(fit, means, modes, _FIT_ERROR_MM**2 / variances)
    flat = project_weak_perspective(fit.shape, fit.scale, fit.rotation, fit.translation[:, :2])
    return replace(fit, landmarks=flat)


def turn_by(vectors: Array) -> Array:
    """Turn axes times angles ``(n, 3)`` into rotations ``(n, 3, 3)`` (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    cross = np.cross(np.eye(3), vectors[:, None, :])
    safe = np.maximum(angle, 1e-12)
    return np.asarray(np.eye(3) + np.sin(angle) / safe * cross + (1.0 - np.cos(angle)) / safe**2 * (cross @ cross))


def _improve(fit: Fit, means: Array, modes: Array, precision: Array) -> Fit:
    """Take one Gauss-Newton step in scale, turn, place and parameters, all measured in mm or rad."""
    turned = fit.shape @ np.swapaxes(fit.rotation, 1, 2)
    residual = (fit.landmarks - fit.translation[:, None, :2]) / fit.scale[:, None, None] - turned[..., :2]
    jacobian = _jacobian(turned, fit.rotation, modes)
    normal = np.swapaxes(jacobian, 1, 2) @ jacobian
    gradient = np.einsum("nki,nk->ni", jacobian, residual.reshape(len(residual), -1))
    diagonal = np.arange(6, 6 + len(modes))
    normal[:, diagonal, diagonal] += precision
    gradient[:, diagonal] -= precision * fit.params
    step = np.linalg.solve(normal, gradient[..., None])[..., 0]
    params = fit.params + step[:, 6:]
    translation = fit.translation.copy()
    translation[:, :2] += fit.scale[:, None] * step[:, 4:6]
    return replace(
        fit,
        scale=fit.scale * np.exp(step[:, 0]),
        rotation=turn_by(step[:, 1:4]) @ fit.rotation,
        translation=translation,
        params=params,
        shape=means + np.einsum("nm,mpc->npc", params, modes),
    )


def _jacobian(turned: Array, rotation: Array, modes: Array) -> Array:
    """Derivatives ``(n, 136, 40)`` of flat points in mm by scale, a small turn, place and 34 parameters."""
    n, n_points, _ = turned.shape
    jacobian = np.zeros((n, n_points, 2, 6 + len(modes)))
    x, y, z = np.moveaxis(turned, -1, 0)
    jacobian[..., 0] = turned[..., :2]
    jacobian[..., 0, 2], jacobian[..., 0, 3] = z, -y  # a turn w moves a point by w x p
    jacobian[..., 1, 1], jacobian[..., 1, 3] = -z, x
    jacobian[..., 0, 4] = jacobian[..., 1, 5] = 1.0
    jacobian[..., 6:] = np.tensordot(rotation[:, :2], modes, axes=(2, 2)).transpose(0, 3, 1, 2)
    return jacobian.reshape(n, 2 * n_points, 6 + len(modes))


def _sample_means(rng: np.random.Generator, n: int) -> Array:
    """Mean faces ``(n, 68, 3)`` mm that OpenFace's might be: off in place, in depth above all, and turned."""
    means = REFERENCE_SHAPE + _MEAN_SHIFT_MM * smooth_field(rng, n, length_mm=30.0, size_mm=1.0)
    means = means @ rotation_from_euler(rng.normal(0.0, _MEAN_TURN, (n, 3)))
    return np.asarray(means - means.mean(axis=1, keepdims=True))


@lru_cache(maxsize=1)
def _stand_in() -> tuple[Array, Array]:
    """The stand-in's modes ``(34, 68, 3)``, orthonormal, rigid motions and size left out; their variances in mm2."""
    heads = sample_heads(np.random.default_rng(_STAND_IN_SEED), _STAND_IN_HEADS, 1).landmarks
    offsets = (heads - heads.mean(axis=0)).reshape(_STAND_IN_HEADS, -1)
    rigid, _ = np.linalg.qr(_rigid_motions())
    offsets -= offsets @ rigid @ rigid.T
    _, singular, modes = np.linalg.svd(offsets, full_matrices=False)
    variances = singular[:N_SHAPE_PARAMS] ** 2 / _STAND_IN_HEADS
    return modes[:N_SHAPE_PARAMS].reshape(N_SHAPE_PARAMS, N_LANDMARKS, 3), variances


def _rigid_motions() -> Array:
    """Displacements ``(204, 7)`` of the reference's points by three shifts, three small turns and a zoom."""
    shifts = [np.broadcast_to(axis, REFERENCE_SHAPE.shape) for axis in np.eye(3)]
    turns = [np.cross(axis, REFERENCE_SHAPE) for axis in np.eye(3)]
    return np.stack([motion.ravel() for motion in (*shifts, *turns, REFERENCE_SHAPE)], axis=1)


def _fit_weights() -> Array:
    """The constants of extractors/facemesh/fit.py, which models may not import; a test holds the two together."""
    weights = np.ones(N_LANDMARKS)
    weights[JAW], weights[BROWS] = 0.1, 0.3
    weights[48:60], weights[60:] = 0.2, 0.0
    return np.asarray(weights / weights.sum())


_FIT_WEIGHTS = _fit_weights()
