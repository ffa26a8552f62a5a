"""The network's first layer: raw features to standardised quantities that compare between faces.

Where the face is in the picture, how large, how it is rolled and how large the picture is drop out here;
what stays is the shape in the head's own frame, how well the landmarks obey it, and gaze against head.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from serve_app.features.schema import FEATURE_SLICES, N_EYE_LANDMARKS, N_LANDMARKS, N_SHAPE_PARAMS
from serve_app.settings import Backend

N_POINTS = N_LANDMARKS + N_EYE_LANDMARKS
N_CHANNELS = 8  # of a point: shape x y z, asymmetry x y z, residual x y

_RAW_LIMIT = 1e5  # px or mm; beyond it float32 squares and products could overflow
_MIN_FACING = 0.3  # cosine of 73 degrees; no extractor sees more of a face that is turned further
_STANDARD_LIMIT = 8.0  # standard deviations; farther out is "very far", however far it is

_JAW, _BROWS, _NOSE, _EYES, _MOUTH = slice(17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
_REGIONS = (_JAW, _BROWS, _NOSE, _EYES, _MOUTH)
_MOVING_PARTS = (_JAW, slice(17, 68), _EYES, _MOUTH)  # the second is the inner face
_LIDS = slice(8, 20, 2)  # of an eye's 28 points, those that its six landmarks mark too

_MOTIONS = ("jaw_motion", "inner_face_motion", "eyes_motion", "mouth_motion")  # of _MOVING_PARTS
_STRAYS = ("jaw_stray", "brows_stray", "nose_stray", "eyes_stray", "mouth_stray")  # of _REGIONS

MEASURE_COUNTS: Mapping[str, int] = MappingProxyType(
    {"gaze": 6, "eye_against_eye": 3, "perspective": 3, "pose": 2, "depth": 3}
    | dict.fromkeys(_MOTIONS, 8)
    | dict.fromkeys(_STRAYS, 1)
    | {"lids": 24, "shape_params": N_SHAPE_PARAMS}
)
"""What the measures are, in order, and how many of each."""

N_MEASURES = sum(MEASURE_COUNTS.values())

_MIRRORED_LANDMARKS = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip
_MIRRORED_EYE = (4, 3, 2, 1, 0, 7, 6, 5, *range(14, 7, -1), *range(19, 14, -1), 22, 21, 20, *range(27, 22, -1))
MIRRORED_POINTS = (
    *_MIRRORED_LANDMARKS,
    *(N_LANDMARKS + 28 + point for point in _MIRRORED_EYE),
    *(N_LANDMARKS + point for point in _MIRRORED_EYE),
)
"""For each of the 124 points the one that mirrors it: 68 landmarks, then 28 points of each eye."""


def euler_to_rotation(angles: Tensor) -> Tensor:
    """Turn OpenFace's Euler angles ``(n, 3)`` in rad, ``R = Rx Ry Rz``, into rotations ``(n, 3, 3)``."""
    (sx, sy, sz), (cx, cy, cz) = torch.sin(angles).unbind(1), torch.cos(angles).unbind(1)
    rows = (
        cy * cz, -cy * sz, sy,
        cx * sz + cz * sx * sy, cx * cz - sx * sy * sz, -cy * sx,
        sx * sz - cx * cz * sy, cz * sx + cx * sy * sz, cx * cy,
    )  # fmt: skip
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def unturn(flat: Tensor, rotation: Tensor, relief: Tensor) -> Tensor:
    """Find the points ``(n, 3, 68)`` of a given relief ``(1, 68)`` that, turned, lie at ``(n, 2, 68)``; all in mm."""
    (a, b), (c, d) = rotation[:, 0, :2].unbind(1), rotation[:, 1, :2].unbind(1)
    inverse = torch.stack([d, -b, -c, a], dim=1).reshape(-1, 2, 2)
    facing = rotation[:, 2, 2].clamp(min=_MIN_FACING)  # the determinant: 0 in profile
    upright = inverse @ (flat - rotation[:, :2, 2:] * relief) / facing[:, None, None]
    return torch.cat([upright, relief.expand(flat.shape[0], 1, -1)], dim=1)


class FaceInputs(nn.Module):
    """Raw features ``(n, 674)`` to points ``(n, 8, 124)`` and measures ``(n, 112)``, about 0 +- 1 on real faces.

    ``fit`` sets its constants once, before training; they are saved with the weights.
    """

    mirrored: Tensor
    reference: Tensor
    basis: Tensor
    affine: Tensor
    points_centre: Tensor
    points_scale: Tensor
    measures_centre: Tensor
    measures_scale: Tensor

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.is_shape_foreign = backend == "openface"  # fitted with modes other than the basis
        self.register_buffer("mirrored", torch.tensor(MIRRORED_POINTS), persistent=False)
        self.register_buffer("reference", torch.zeros(3, N_LANDMARKS))
        self.register_buffer("basis", torch.zeros(N_SHAPE_PARAMS, 3 * N_LANDMARKS))
        self.register_buffer("affine", torch.zeros(4, N_LANDMARKS, 4))
        self.register_buffer("points_centre", torch.zeros(N_CHANNELS, N_POINTS))
        self.register_buffer("points_scale", torch.ones(N_CHANNELS, N_POINTS))
        self.register_buffer("measures_centre", torch.zeros(N_MEASURES))
        self.register_buffer("measures_scale", torch.ones(N_MEASURES))

    @torch.no_grad()
    def fit(self, features: Tensor, reference: Tensor, basis: Tensor) -> None:
        """Set the constants from training rows ``(n, 674)``, the shape ``(3, 68)`` in mm and its modes ``(34, 204)``.

        The modes run over all x, then all y, then all z. Medians and quartiles are used: fakes have long tails.
        """
        self.reference.copy_(reference)
        self.basis.copy_(basis)
        self.affine.copy_(torch.stack([_affine_fit(reference, part) for part in _MOVING_PARTS]))
        points, measures = self._quantities(features)
        for values, centre, scale in (
            (points, self.points_centre, self.points_scale),
            (measures, self.measures_centre, self.measures_scale),
        ):
            low, middle, high = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75]), dim=0)
            centre.copy_(middle)
            scale.copy_(((high - low) / 1.349).clamp(min=1e-3))  # 1.349: the quartile range of a unit normal

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Derive and standardise: points ``(n, 8, 124)``, measures ``(n, 112)``, both within +-8."""
        points, measures = self._quantities(features)
        return (
            _standardise(points, self.points_centre, self.points_scale),
            _standardise(measures, self.measures_centre, self.measures_scale),
        )

    def _quantities(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Points and measures, in mm and rad where they have a unit."""
        features = features.clamp(-_RAW_LIMIT, _RAW_LIMIT)
        camera = features[:, FEATURE_SLICES["shape_camera"]]
        rotation = euler_to_rotation(camera[:, 1:4])
        unroll = euler_to_rotation(camera[:, 1:4] * camera.new_tensor([0.0, 0.0, -1.0]))[:, :2, :2]
        flat, flat_eyes = _flat_mm(features, camera)
        if self.is_shape_foreign:
            shape, seen, params, depths = self._without_foreign_models(flat, rotation)
        else:
            params, depths = features[:, FEATURE_SLICES["shape"]], _depth_ratios(features)
            shape = self.reference + (params @ self.basis).reshape(-1, 3, N_LANDMARKS)
            seen = rotation @ shape

        residual = unroll @ (flat - seen[:, :2])
        deep_eyes = seen[:, 2:, _EYES].reshape(-1, 1, 2, 6).mean(dim=3).repeat_interleave(28, dim=2)
        head = torch.cat([shape, rotation.mT @ torch.cat([flat_eyes, deep_eyes], dim=1)], dim=2)
        asymmetry = head - head[:, :, self.mirrored] * head.new_tensor([[-1.0], [1.0], [1.0]])
        eyes, lids = _against_lids(flat_eyes, flat[:, :, _EYES])
        points = torch.cat([head, asymmetry, torch.cat([residual, unroll @ eyes], dim=2)], dim=1)
        pose = _pose_measures(features, rotation)
        measures = [*pose, depths, *self._residual_measures(residual), lids, params]
        return points, torch.cat(measures, dim=1)

    def _without_foreign_models(self, flat: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take shape, what it should be seen as, parameters and depths from landmarks ``(n, 2, 68)`` in mm alone.

        OpenFace fits modes unknown in this basis, its relief is its model's rather than the picture's, and its eyes
        float at depths of their own. So the landmarks are the shape, on the reference's relief; they are compared
        with the reference itself, turned as the head is; parameters and depths stay 0.
        """
        shape = unturn(flat, rotation, self.reference[2:])
        seen = rotation @ self.reference
        return shape, seen, flat.new_zeros(flat.shape[0], N_SHAPE_PARAMS), flat.new_zeros(flat.shape[0], 3)

    def _residual_measures(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """How parts of the face move as a whole against the shape, and how far each region strays from it."""
        motions = torch.einsum("ncp,kpd->nkcd", residual, self.affine).flatten(1)
        if self.is_shape_foreign:
            motions = torch.zeros_like(motions)  # against the reference: how a person is built, not how a face moves
        strays = [residual[:, :, region].square().mean(dim=(1, 2)) for region in _REGIONS]
        return motions, torch.log(torch.stack(strays, dim=1) + 1e-3)


def _standardise(values: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    return ((values - centre) / scale).clamp(-_STANDARD_LIMIT, _STANDARD_LIMIT)


def _flat_mm(features: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks ``(n, 2, 68)`` and eye points ``(n, 2, 56)`` in the picture's plane, about the face's middle, in mm."""
    scale = camera[:, :1].clamp(min=1e-2).unsqueeze(2)  # px/mm: a face of 2 px
    landmarks, eyes = (
        (features[:, FEATURE_SLICES[name]].reshape(-1, 2, n_points) - camera[:, 4:6].unsqueeze(2)) / scale
        for name, n_points in (("landmarks_2d", N_LANDMARKS), ("eye_landmarks_2d", N_EYE_LANDMARKS))
    )
    return landmarks, eyes


def _against_lids(flat_eyes: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Eye points ``(n, 2, 56)`` about the middle of their eye's landmarks; lid points less landmarks, ``(n, 24)``."""
    eyes, lids = flat_eyes.reshape(-1, 2, 2, 28), landmarks.reshape(-1, 2, 2, 6)
    return (eyes - lids.mean(dim=3, keepdim=True)).flatten(2), (eyes[..., _LIDS] - lids).flatten(1)


def _pose_measures(features: Tensor, rotation: Tensor) -> tuple[Tensor, ...]:
    """Gaze against head, eye against eye, perspective against weak-perspective pose, and the pose itself."""
    translation = features[:, FEATURE_SLICES["pose_translation"]]
    angles = features[:, FEATURE_SLICES["pose_rotation"]]
    pose = euler_to_rotation(angles)
    gaze = features[:, FEATURE_SLICES["gaze"]].reshape(-1, 2, 3).clamp(-1.0, 1.0)
    in_head = gaze @ pose

    # a weak-perspective rotation is seen from the face's own direction, a perspective one from the optical axis
    turn = (_towards(translation) @ rotation).mT @ pose
    axis = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], 1)
    return in_head.flatten(1), in_head[:, 0] - in_head[:, 1], axis / 2, angles[:, :2]


def _towards(translation: Tensor) -> Tensor:
    """The rotations ``(n, 3, 3)`` that turn the optical axis towards ``(n, 3)`` points."""
    x, y, z = nn.functional.normalize(translation, dim=1, eps=1.0).unbind(1)
    return euler_to_rotation(torch.stack([torch.atan2(-y, z), torch.asin(x.clamp(-1.0, 1.0)), torch.zeros_like(x)], 1))


def _depth_ratios(features: Tensor) -> Tensor:
    """Logarithms ``(n, 3)`` of how much nearer the pose and each eye are than the face's points on average."""
    n = features.shape[0]  # len() would fix the size of every batch in an export
    face = features[:, FEATURE_SLICES["landmarks_3d"]].reshape(n, 3, -1)[:, 2].mean(dim=1, keepdim=True)
    eyes = features[:, FEATURE_SLICES["eye_landmarks_3d"]].reshape(n, 3, 2, -1)[:, 2].mean(dim=2)
    depths = torch.cat([features[:, FEATURE_SLICES["pose_translation"]][:, 2:], eyes], dim=1)
    return torch.log((face.abs().clamp(min=1.0) / depths.abs().clamp(min=1.0)).clamp(0.1, 10.0))


def _affine_fit(reference: Tensor, part: slice) -> Tensor:
    """The linear map ``(68, 4)`` that fits an affine motion of a part of the reference shape to its displacements."""
    columns = reference[:, part]
    columns = torch.cat([columns, torch.full_like(columns[:1], 30.0)])  # 30 mm: as long as the others
    fit = reference.new_zeros(N_LANDMARKS, 4)
    fit[part] = torch.linalg.pinv(columns.double(), rtol=0.05).to(reference.dtype)
    return fit
