"""One request's way through the stages."""

import asyncio
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.errors import BackendMismatch, DeadlineExceeded, Overloaded, UnknownModel
from serve_app.frames import Frame
from serve_app.pipeline import Extraction, FrameOutcome, Pipeline, Scoring
from serve_app.predictions import RowScores
from serve_app.settings import Backend, PipelineSettings
from tests.unit import stages

SETTINGS = PipelineSettings(deadline_s=5)


def frames_of(*images: bytes) -> list[Frame]:
    return [Frame(index, image) for index, image in enumerate(images)]


def pipeline_of(extractor: object = None, predictor: object = None, settings: PipelineSettings = SETTINGS) -> Pipeline:
    return Pipeline(
        extractor or stages.StageExtractor(),  # type: ignore[arg-type]  # a test's own stage
        stages.StageParser(),
        predictor or stages.StagePredictor(),  # type: ignore[arg-type]  # a test's own stage
        settings,
    )


async def run(pipeline: Pipeline, *images: bytes) -> list[FrameOutcome]:
    return await pipeline.run(frames_of(*images), Scoring(stages.MODEL))


def statuses(outcomes: list[FrameOutcome]) -> list[str]:
    return [outcome.error.status if outcome.error else "ok" for outcome in outcomes]


def test_outcomes_come_back_in_frame_order() -> None:
    """Scores belong to the frames that asked for them, whatever chunk ended first."""
    scores = [index / 100 for index in range(30)]
    outcomes = asyncio.run(run(pipeline_of(), *map(stages.image, scores)))
    assert [outcome.score for outcome in outcomes] == pytest.approx(scores)


def test_a_lone_request_uses_every_replica() -> None:
    """In even calls, none with a lone straggler."""
    extractor = stages.StageExtractor(n_replicas=8)
    pipeline = pipeline_of(extractor)
    asyncio.run(run(pipeline, *[stages.image(0.5)] * 30))
    assert sorted(len(call) for call in extractor.calls) == [3, 3, 4, 4, 4, 4, 4, 4]


def test_the_next_request_is_cut_by_what_a_frame_of_the_last_one_cost() -> None:
    """Slow frames go one by one where there are replicas for them; fast ones are not worth so many calls."""
    extractor = stages.StageExtractor(n_replicas=64, frame_s=0.001)
    pipeline = pipeline_of(extractor, settings=PipelineSettings())
    for _ in range(20):
        asyncio.run(run(pipeline, *[stages.image(0.5)] * 30))
    assert [len(call) for call in extractor.calls[-2:]] == [15, 15]
    extractor.frame_s = 1.0
    for _ in range(2):
        extractor.calls.clear()
        asyncio.run(run(pipeline, *[stages.image(0.5)] * 30))
    assert [len(call) for call in extractor.calls] == [1] * 30


def test_frames_that_cannot_be_extracted_tell_nothing_of_what_one_costs() -> None:
    """They take no time: after a few files that are no pictures the next request would go to one replica whole."""
    extractor = stages.StageExtractor(n_replicas=64, frame_s=1.0)
    pipeline = pipeline_of(extractor, settings=PipelineSettings())
    asyncio.run(run(pipeline, *[stages.image(0.5)] * 30))
    extractor.frame_s = 0.0001
    for _ in range(20):
        asyncio.run(run(pipeline, *[stages.BREAKS_EXTRACTOR] * 30))
    extractor.calls.clear()
    asyncio.run(run(pipeline, *[stages.image(0.5)] * 30))
    assert [len(call) for call in extractor.calls] == [1] * 30


def test_requests_side_by_side_share_the_replicas() -> None:
    """The fourth to come on eight replicas takes two of them; a later one has all again."""
    extractor = stages.StageExtractor(n_replicas=8)
    pipeline = pipeline_of(extractor)

    async def four() -> None:
        await asyncio.gather(*(run(pipeline, *[stages.image(0.5)] * 30) for _ in range(4)))

    asyncio.run(four())
    assert [len(call) for call in extractor.calls[-2:]] == [15, 15]
    extractor.calls.clear()
    asyncio.run(run(pipeline, *[stages.image(0.5)] * 30))
    assert len(extractor.calls) == 8


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"", "undecodable"),
        (b"plain text", "undecodable"),
        (stages.NO_FACE, "no_face"),
        (stages.UNSURE, "low_quality"),
        (stages.BREAKS_EXTRACTOR, "extraction_failed"),
        (stages.TRUNCATED_CSV, "extraction_failed"),
        (stages.KILLS_REPLICA, "extraction_failed"),
    ],
)
def test_a_bad_frame_never_costs_the_other_29(bad: bytes, status: str) -> None:
    """29 of 30 are scored, and the bad one says why it is not."""
    images = [stages.image(0.25)] * 30
    images[17] = bad
    outcomes = asyncio.run(run(pipeline_of(), *images))
    assert statuses(outcomes) == ["ok"] * 17 + [status] + ["ok"] * 12


def test_a_frame_whose_replica_died_once_is_tried_again_alone() -> None:
    """A death in company is not the frame's fault until it is alone."""
    extractor = stages.StageExtractor(deaths_left=1, n_replicas=1)
    outcomes = asyncio.run(run(pipeline_of(extractor), stages.image(0.1), stages.KILLS_REPLICA))
    assert statuses(outcomes) == ["ok", "ok"]
    assert [len(call) for call in extractor.calls] == [2, 1, 1]


def test_nothing_is_sent_on_when_no_frame_can_be_read() -> None:
    """A request of garbage costs the stages nothing."""
    extractor = stages.StageExtractor()
    assert statuses(asyncio.run(run(pipeline_of(extractor), b"", b"text"))) == ["undecodable"] * 2
    assert extractor.calls == []


def test_a_late_request_is_refused_and_its_work_cancelled() -> None:
    """Past the deadline every call of the request ends."""
    extractor = stages.StageExtractor()
    pipeline = pipeline_of(extractor, settings=PipelineSettings(deadline_s=0.05))
    with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
        asyncio.run(run(pipeline, stages.HANGS, stages.HANGS))
    assert extractor.cancelled == 2


def test_a_caller_that_leaves_cancels_the_work() -> None:
    """Cancelling the request cancels what it had running."""
    extractor = stages.StageExtractor()

    async def leave() -> None:
        request = asyncio.create_task(run(pipeline_of(extractor), stages.HANGS))
        await extractor.called.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(leave())
    assert extractor.cancelled == 1


def test_outcomes_are_told_as_they_are_finished() -> None:
    """The first to be told of are those that need no stage."""
    told: list[int] = []
    frames = frames_of(stages.image(0.5), b"text", stages.image(0.5))
    asyncio.run(pipeline_of().run(frames, Scoring(stages.MODEL), lambda outcome: told.append(outcome.frame.frame_id)))
    assert told == [1, 0, 2]


def test_a_refusal_of_one_stage_is_the_requests() -> None:
    """A request error comes out as itself, not as a group, and cancels the other chunks."""

    class Refusing:
        async def predict(self, *_: object) -> np.ndarray:
            raise BackendMismatch("not for this extractor")

    with pytest.raises(BackendMismatch):
        asyncio.run(run(pipeline_of(predictor=Refusing()), *[stages.image(0.5)] * 30))


@dataclass
class Reloading(stages.StagePredictor):
    """One of several: those asked first have not read the new model yet."""

    refusals: int = 0

    async def predict(
        self, model_name: str, backend: Backend, features: npt.NDArray[np.float32], with_reasons: bool
    ) -> RowScores:
        if self.refusals:
            self.refusals -= 1
            raise UnknownModel("no such model here")
        return await super().predict(model_name, backend, features, with_reasons)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is being loaded is asked for again at once."""
    monkeypatch.setattr("serve_app.pipeline._RELOAD_PAUSE_S", 0.001)


@pytest.mark.usefixtures("short_pauses")
def test_a_model_that_a_predictor_has_not_loaded_yet_is_asked_for_again() -> None:
    """Another one told the ingress of it, so the client was right."""
    outcomes = asyncio.run(run(pipeline_of(predictor=Reloading(refusals=2)), stages.image(0.25)))
    assert [outcome.score for outcome in outcomes] == [0.25]


@pytest.mark.usefixtures("short_pauses")
def test_a_model_that_stays_away_is_a_matter_of_trying_later() -> None:
    """And not of a wrong name, for which a client would give up."""
    settings = SETTINGS.model_copy(update={"reload_wait_s": 0.01})
    with pytest.raises(Overloaded, match="mobilenetv2_celebv2@3 is not on every predictor") as refused:
        asyncio.run(run(pipeline_of(predictor=Reloading(refusals=99), settings=settings), stages.image(0.25)))
    assert refused.value.retry_after_s == 1


def test_a_refusal_is_told_before_a_bug() -> None:
    """Where both happen at once, the client hears what it can act on."""

    class Failing(stages.StageExtractor):
        async def extract(self, images: list[bytes]) -> Extraction:
            raise Overloaded("full") if images[0] == stages.image(0.5) else ZeroDivisionError

    with pytest.raises(Overloaded):
        pipeline = pipeline_of(Failing(), settings=PipelineSettings())
        asyncio.run(run(pipeline, stages.image(0.1), stages.image(0.5)))


def test_features_of_another_extractor_are_never_scored() -> None:
    """Nodes may differ in what they have installed."""

    class OtherBackend(stages.StageExtractor):
        async def extract(self, images: list[bytes]) -> Extraction:
            return replace(await super().extract(images), backend="openface")

    with pytest.raises(BackendMismatch, match="openface"):
        asyncio.run(run(pipeline_of(OtherBackend()), stages.image(0.5)))


def test_novelty_and_reasons_come_with_their_frame() -> None:
    """Whatever chunk ended first."""
    images = [stages.image(index / 10, novelty=2 - index / 10) for index in range(10)]
    scoring = Scoring(stages.MODEL, with_reasons=True)
    outcomes = asyncio.run(pipeline_of().run(frames_of(*images), scoring))
    assert [outcome.novelty for outcome in outcomes] == pytest.approx([2 - index / 10 for index in range(10)])
    assert [outcome.contributions and outcome.contributions[3] for outcome in outcomes] == pytest.approx(
        [3 * index / 10 for index in range(10)]
    )


@pytest.mark.parametrize(("novelty", "flag"), [(1.0, False), (1.5, True)])
def test_beyond_the_limit_is_out_of_distribution(novelty: float, flag: bool) -> None:
    """On it is not."""
    [outcome] = asyncio.run(run(pipeline_of(), stages.image(0.5, novelty=novelty)))
    assert outcome.is_out_of_distribution is flag


def test_without_novelty_and_reasons_nothing_is_made_up() -> None:
    """A model that cannot tell does not say that all is well."""
    [outcome] = asyncio.run(run(pipeline_of(predictor=stages.StagePredictor(knows_novelty=False)), stages.image(0.5)))
    assert (outcome.is_out_of_distribution, outcome.contributions) == (None, None)
