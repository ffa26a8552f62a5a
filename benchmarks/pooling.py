"""Which way of pooling the scores of a video's frames tells fakes from reals best: docs/adr/0003-pooling.md.

    python benchmarks/pooling.py [--version 1] [--identities 200] [--seed 7]

Each simulated identity has one real video, and one fake of it by one family, the same number of identities for each
family. What a video meets is varied:

    as simulated     every frame of a fake is forged, every face is read as well as the extractor can
    1 in 10 misread  a tenth of all frames score .99, as a face does that the picture's edge cuts off
    half misread     half of all frames do: someone who leans out of the picture
    half forged      half of a fake's frames, chosen at random, are the original's: cuts, or a forgery not kept up

Frames are drawn independently of each other but for the identity and the family: those of a video resemble each other
more, so all numbers flatter, all strategies alike. Intervals are 95 % bootstraps over identities. "called" counts
verdicts, in percent: scores within the model's uncertain band are called neither.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.models.detector import Detector, resolve_device
from serve_app.models.evaluation import sigmoid
from serve_app.models.registry import ModelRegistry
from serve_app.models.resampling import Rates, Resamples
from serve_app.models.simulation import FakeFamily, simulate
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR

Array = npt.NDArray[np.float64]

N_FRAMES = 30
THRESHOLD = 0.5
MISREAD_SCORE = 0.99
HEADER = "| strategy | AUC | accuracy | fakes called fake | reals called fake | fakes called real |"


@dataclass(frozen=True)
class Condition:
    """What a video meets: the share of a fake's frames that is forged, and of all frames that is misread."""

    name: str
    forged_share: float
    misread_share: float


CONDITIONS = (
    Condition("as simulated", 1.0, 0.0),
    Condition("1 in 10 misread", 1.0, 0.1),
    Condition("half misread", 1.0, 0.5),
    Condition("half forged", 0.5, 0.0),
)


def main() -> None:
    """Compare, and print a table for each condition and number of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=int, default=1, help="of the default model: 1 facemesh, 2 openface")
    parser.add_argument("--identities", type=int, default=200, help="of each family")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    registry = ModelRegistry(PRETRAINED_DIR)
    manifest = registry.load_manifest(DEFAULT_MODEL, arguments.version)
    if (band := manifest.uncertain_band) is None:
        sys.exit(f"model {DEFAULT_MODEL}/{arguments.version} has no uncertain band, so no verdicts; choose another")
    detector = Detector.load(registry, manifest, resolve_device("cpu"))
    scores = simulated_videos(detector, arguments.identities, arguments.seed)
    for n_frames in (5, N_FRAMES):
        for condition in CONDITIONS:
            rng = np.random.default_rng(arguments.seed)
            videos = subject(rng, scores[..., :n_frames], condition)
            print(f"\n{n_frames} frames, {condition.name}\n\n{HEADER}\n|{' --- |' * HEADER.count('|', 1)}")
            for name, pool in STRATEGIES.items():
                print(f"| {name} | {' | '.join(judge(pool(videos), (band.low, band.high)))} |")


def simulated_videos(detector: Detector, n_identities: int, seed: int) -> Array:
    """Scores of a real and a fake video of each identity: ``(2, n_identities * n_families, 30)``."""
    backend, videos = detector.manifest.backend, []
    for offset, family in enumerate(FakeFamily):
        rows = simulate(seed + offset, n_identities, backend=backend, n_frames=N_FRAMES, families=[family])
        videos.append(detector.scores(rows.features).astype(np.float64).reshape(2, n_identities, N_FRAMES))
    return np.concatenate(videos, axis=1)


def subject(rng: np.random.Generator, scores: Array, condition: Condition) -> Array:
    """Let videos ``(2, n, n_frames)`` meet a condition: original frames in the fakes, misread ones in both."""
    real, fake = scores
    videos = np.stack([real, np.where(rng.random(fake.shape) < condition.forged_share, fake, real)])
    return np.where(rng.random(videos.shape) < condition.misread_share, MISREAD_SCORE, videos)


def judge(pooled: Array, band: tuple[float, float]) -> list[str]:
    """Measure pooled scores ``(2, n)``: the columns of the table."""
    labels, scores = np.repeat([0.0, 1.0], pooled.shape[1]), pooled.ravel()
    is_fake, called_fake, called_real = labels == 1, scores > band[1], scores < band[0]
    counted = np.stack([(scores > THRESHOLD) == is_fake, is_fake & called_fake, ~is_fake & called_fake], axis=1)
    counted = np.column_stack([counted, is_fake & called_real]).astype(np.float64)
    among = np.stack([np.ones(len(labels)), is_fake, ~is_fake, is_fake], axis=1).astype(np.float64)

    def measure(weights: Array) -> Array:
        return np.column_stack([Rates.of(labels, scores, weights).auc(), weights @ counted / (weights @ among)])

    identities = np.tile(np.arange(pooled.shape[1]), 2)
    resamples = Resamples.draw(identities, seed=0, n_resamples=500)
    estimates = resamples.estimate(measure).T
    whole = [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in estimates[:2]]
    return whole + [f"{100 * value:.1f}" for value, _, _ in estimates[2:]]


def mean(scores: Array) -> Array:
    """The plain mean over the last axis, as in all strategies."""
    return np.asarray(scores.mean(axis=-1))


def median(scores: Array) -> Array:
    """The middle score."""
    return np.asarray(np.median(scores, axis=-1))


def trimmed(scores: Array) -> Array:
    """The mean without the lowest and the highest fifth."""
    n_cut = scores.shape[-1] // 5
    return mean(np.sort(scores, axis=-1)[..., n_cut : scores.shape[-1] - n_cut])


def log_odds(scores: Array) -> Array:
    """The mean of the log-odds: frames that are sure of themselves sway it more."""
    return sigmoid(mean(_logits(scores)))


def weighted_log_odds(scores: Array) -> Array:
    """The mean of the log-odds, weighted by confidence."""
    confidence = np.abs(scores - 0.5)
    return sigmoid(np.sum(confidence * _logits(scores), axis=-1) / confidence.sum(axis=-1))


def confident_half(scores: Array) -> Array:
    """The mean of the half of the frames that are surest of themselves."""
    n_kept = -(-scores.shape[-1] // 2)
    surest = np.argsort(-np.abs(scores - 0.5), axis=-1)[..., :n_kept]
    return mean(np.take_along_axis(scores, surest, axis=-1))


def confident(scores: Array) -> Array:
    """Seferbekov's, first in the Deepfake Detection Challenge of 2020: the mean of the sure frames if enough agree."""
    is_fake, is_real = scores > 0.8, scores < 0.2
    says_fake, says_real = is_fake.mean(axis=-1) > 0.4, is_real.mean(axis=-1) > 0.9
    chosen = np.where(says_fake[..., None], is_fake, np.where(says_real[..., None], is_real, True))
    return np.asarray(np.sum(scores * chosen, axis=-1) / chosen.sum(axis=-1))


STRATEGIES: dict[str, Callable[[Array], Array]] = {
    "mean": mean,
    "median": median,
    "trimmed mean": trimmed,
    "mean log-odds": log_odds,
    "weighted log-odds": weighted_log_odds,
    "confident half": confident_half,
    "confident strategy": confident,
}


def _logits(scores: Array) -> Array:
    inside = np.clip(scores, 1e-3, 1.0 - 1e-3)
    return np.asarray(np.log(inside / (1.0 - inside)))


if __name__ == "__main__":
    main()
