"""One request's way through the stages: fan out, per-frame outcome, deadline, gather."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serve_app.coalescing import Coalescer
from serve_app.errors import (
    BackendMismatch,
    DeadlineExceeded,
    ExtractionFailed,
    FrameError,
    Overloaded,
    ReplicaLost,
    RequestError,
    UnknownModel,
)
from serve_app.fanout import FanOut
from serve_app.features.table import FaceFeatures
from serve_app.frames import ExtractedFrame, Frame, check_signature
from serve_app.model_names import ModelReference
from serve_app.predictions import ModelDescription, RowScores
from serve_app.settings import Backend, PipelineSettings

_RELOAD_PAUSE_S = 0.2
_CALLS_AT_A_TIME = 2  # of a request to the parser, and to the predictor: as many as a lone one has chunks on two cores
_LONE_ATTEMPTS = 2  # of a frame whose replica died: alone, so that a poison frame takes no other with it


@dataclass(frozen=True)
class Extraction:
    """What one extractor replica made of some images, a slot for each: by which backend, in what time.

    ``frame_s`` is how long one frame took on average, in seconds.
    """

    backend: Backend
    frames: list[ExtractedFrame | FrameError]
    frame_s: float

    @property
    def is_mostly_whole(self) -> bool:
        """Whether most images gave a CSV: what cannot be read takes no time, or all that there is."""
        return 2 * sum(isinstance(frame, ExtractedFrame) for frame in self.frames) > len(self.frames)


class Extractor(Protocol):
    """Images to OpenFace CSVs, a slot for each image; raises ReplicaLost when the replica died on them."""

    async def extract(self, images: list[bytes]) -> Extraction:
        """Extract each image."""
        ...

    async def replicas(self) -> int:
        """Count those that extract at a time."""
        ...


class Parser(Protocol):
    """CSVs to features, a slot for each CSV."""

    async def parse(self, csvs: list[bytes]) -> list[FaceFeatures | FrameError]:
        """Parse each CSV."""
        ...


class Predictor(Protocol):
    """Features ``(n, 674) float32`` to calibrated P(fake), their novelty and, where asked for, reasons."""

    async def predict(
        self, model_name: str, backend: Backend, features: npt.NDArray[np.float32], with_reasons: bool
    ) -> RowScores:
        """Score each row by the named model."""
        ...


@dataclass(frozen=True)
class Scoring:
    """What a request asks of the predictor: the model, and whether it explains each score."""

    model: ModelDescription
    with_reasons: bool = False


@dataclass(frozen=True)
class FrameOutcome:
    """How far one frame came: a score, or the error that says why there is none; the CSV wherever one was made.

    ``orientation`` is that of ``ExtractedFrame``; ``novelty`` and ``contributions`` are those of its row in
    ``RowScores``.
    """

    frame: Frame
    csv: bytes | None = None
    orientation: int | None = None
    face: FaceFeatures | None = None
    score: float | None = None
    novelty: float | None = None
    contributions: tuple[float, ...] | None = None
    error: FrameError | None = None

    @property
    def is_out_of_distribution(self) -> bool | None:
        """Whether its features lie beyond what the model was trained on; None where that is not known."""
        return None if self.novelty is None else self.novelty > 1


@dataclass(frozen=True)
class _Stages:
    """Parser and predictor as one request sees them: chunks that are extracted at the same time go on together."""

    backend: Backend  # that the request's model was trained on
    parse: Coalescer[bytes, FaceFeatures | FrameError]
    score: Coalescer[npt.NDArray[np.float32], RowScores]


def _ignore(_: FrameOutcome) -> None:
    return


class Pipeline:
    """The three stages, and how requests are spread over them."""

    def __init__(self, extractor: Extractor, parser: Parser, predictor: Predictor, settings: PipelineSettings) -> None:
        self._extractor = extractor
        self._parser = parser
        self._predictor = predictor
        self._settings = settings
        self._fan_out = FanOut(settings)
        self._requests = 0

    async def run(
        self,
        frames: Sequence[Frame],
        scoring: Scoring,
        on_outcome: Callable[[FrameOutcome], None] = _ignore,
        *,
        deadline: float | None = None,
    ) -> list[FrameOutcome]:
        """Score every frame; outcomes are returned in the frames' order, and told to ``on_outcome`` as they come.

        ``deadline`` is a time of the event loop's clock, by default ``deadline_s`` from now.

        Raises:
            RequestError: a stage refused the request whole, or it passed its deadline. What was still
                running for it is cancelled.
        """
        outcomes: list[FrameOutcome] = []

        def tell(outcome: FrameOutcome) -> None:
            outcomes.append(outcome)
            on_outcome(outcome)

        unreadable, readable = _sift(frames)
        for outcome in unreadable:
            tell(outcome)
        stages = self._stages(scoring)
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + self._settings.deadline_s
        self._requests += 1
        try:
            async with asyncio.timeout_at(deadline), asyncio.TaskGroup() as calls:
                replicas = await self._extractor.replicas() / self._requests
                for chunk in self._fan_out.cut(len(readable), replicas):
                    calls.create_task(self._score(readable[chunk], stages, tell))
        except TimeoutError as exc:
            raise DeadlineExceeded(f"the request was not done within {self._settings.deadline_s:g} s") from exc
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            self._requests -= 1
        return sorted(outcomes, key=lambda outcome: outcome.frame.frame_id)

    def _stages(self, scoring: Scoring) -> _Stages:
        return _Stages(
            scoring.model.backend,
            Coalescer(self._parser.parse, max_calls=_CALLS_AT_A_TIME),
            Coalescer(partial(self._predict, scoring), max_calls=_CALLS_AT_A_TIME),
        )

    async def _score(self, frames: Sequence[Frame], stages: _Stages, tell: Callable[[FrameOutcome], None]) -> None:
        """Take one chunk through the three stages, and tell how its frames ended."""
        for outcome in await self._score_chunk(frames, stages):
            tell(outcome)

    async def _score_chunk(self, frames: Sequence[Frame], stages: _Stages) -> list[FrameOutcome]:
        try:
            extraction = await self._extractor.extract([frame.image for frame in frames])
        except ReplicaLost:
            return [await self._score_alone(frame, stages) for frame in frames]
        if extraction.is_mostly_whole:
            self._fan_out.learn(extraction.frame_s)
        return await self._score_extraction(frames, extraction, stages)

    async def _score_alone(self, frame: Frame, stages: _Stages) -> FrameOutcome:
        """Try again a frame whose replica died; it fails alone if its replica dies again."""
        for _ in range(_LONE_ATTEMPTS):
            try:
                extraction = await self._extractor.extract([frame.image])
            except ReplicaLost:
                continue
            [outcome] = await self._score_extraction([frame], extraction, stages)
            return outcome
        return FrameOutcome(frame, error=ExtractionFailed("the extractor died on this frame each time it was tried"))

    async def _score_extraction(
        self, frames: Sequence[Frame], extraction: Extraction, stages: _Stages
    ) -> list[FrameOutcome]:
        if extraction.backend != stages.backend:
            raise BackendMismatch(f"an {extraction.backend} extractor took part, but the model is for {stages.backend}")
        outcomes = [_after_extraction(*pair) for pair in zip(frames, extraction.frames, strict=True)]
        failed = [outcome for outcome in outcomes if outcome.error]
        extracted = [outcome for outcome in outcomes if outcome.csv is not None]
        if not extracted:
            return failed
        faces = await stages.parse.submit([outcome.csv for outcome in extracted if outcome.csv is not None])
        parsed = [_with_face(outcome, face) for outcome, face in zip(extracted, faces, strict=True)]
        return failed + await _score_faces(parsed, stages)

    async def _predict(self, scoring: Scoring, rows: list[npt.NDArray[np.float32]]) -> list[RowScores]:
        """Score rows; while replicas read their models anew one after the other, some lack what others told of."""
        model, features = scoring.model, np.stack(rows)
        exactly = str(ModelReference(model.name, model.version))  # a newer one may be loaded meanwhile
        clock = asyncio.get_running_loop().time
        until = clock() + self._settings.reload_wait_s
        while True:
            try:
                scores = await self._predictor.predict(exactly, model.backend, features, scoring.with_reasons)
                return [scores[row : row + 1] for row in range(len(scores))]
            except UnknownModel as exc:
                if clock() > until:
                    message = f"the model {exactly} is not on every predictor: models are being changed"
                    raise Overloaded(message, retry_after_s=math.ceil(self._settings.reload_wait_s)) from exc
            await asyncio.sleep(_RELOAD_PAUSE_S)


def _sift(frames: Sequence[Frame]) -> tuple[list[FrameOutcome], list[Frame]]:
    """Part the frames that are no pictures from those that may be."""
    unreadable, readable = [], []
    for frame in frames:
        try:
            check_signature(frame)
        except FrameError as error:
            unreadable.append(FrameOutcome(frame, error=error))
        else:
            readable.append(frame)
    return unreadable, readable


async def _score_faces(outcomes: Sequence[FrameOutcome], stages: _Stages) -> list[FrameOutcome]:
    faceless = [outcome for outcome in outcomes if outcome.face is None]
    with_face = [outcome for outcome in outcomes if outcome.face is not None]
    if not with_face:
        return faceless
    rows = await stages.score.submit([outcome.face.features for outcome in with_face if outcome.face is not None])
    return faceless + [_with_score(outcome, row) for outcome, row in zip(with_face, rows, strict=True)]


def _after_extraction(frame: Frame, extracted: ExtractedFrame | FrameError) -> FrameOutcome:
    if isinstance(extracted, FrameError):
        return FrameOutcome(frame, error=extracted)
    return FrameOutcome(frame, csv=extracted.csv, orientation=extracted.orientation)


def _with_face(outcome: FrameOutcome, face: FaceFeatures | FrameError) -> FrameOutcome:
    return replace(outcome, error=face) if isinstance(face, FrameError) else replace(outcome, face=face)


def _with_score(outcome: FrameOutcome, row: RowScores) -> FrameOutcome:
    """Take over what the model says of the frame's one row."""
    return replace(
        outcome,
        score=row.scores.item(),
        novelty=None if row.novelty is None else row.novelty.item(),
        contributions=None if row.contributions is None else tuple(row.contributions[0].tolist()),
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The request's own error among those that came at once, else the first bug."""
    matched = group.subgroup(RequestError)
    return (matched or group).exceptions[0]
