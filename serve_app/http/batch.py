"""``POST /batch/predict``: a form in, one JSON answer out, or an event for each frame and then the answer."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from serve_app.errors import DeadlineExceeded
from serve_app.frames import Frame, accept_uploads
from serve_app.http.contract import BatchBody, FrameBody, answer_status, frame_body, frame_prediction, summary_body
from serve_app.http.forms import PredictForm, read_predict_form
from serve_app.http.problems import log_unexpected, problem_of, stopping
from serve_app.http.service import Service
from serve_app.pipeline import FrameOutcome, Scoring
from serve_app.predictions import ModelDescription, summarise

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
_WEIGHT = re.compile(r"(?:^|;)\s*q\s*=\s*([01](?:\.\d{0,3})?)")


@dataclass(frozen=True)
class Batch:
    """A request that was accepted: its frames, the model that will score them, and what the form asked."""

    form: PredictForm
    frames: list[Frame]
    model: ModelDescription
    threshold: float
    deadline: float  # of the event loop's clock

    @property
    def uncertain_band(self) -> tuple[float, float]:
        """The model's, about the threshold that holds here."""
        shift = self.threshold - self.model.threshold
        low, high = self.model.uncertain_band
        return low + shift if low > 0 else low, high + shift if high < 1 else high  # an end at 0 or 1: no call at all

    def frame_body(self, outcome: FrameOutcome) -> FrameBody:
        """Say how one of its frames ended."""
        return frame_body(outcome, model=self.model, threshold=self.threshold, include=self.form.include)


async def accept(service: Service, request: Request) -> Batch:
    """Read and check a request, before any frame of it costs work.

    Raises:
        RequestError: the request is refused whole.
    """
    deadline_s = service.settings.pipeline.deadline_s
    deadline = asyncio.get_running_loop().time() + deadline_s
    try:
        async with asyncio.timeout_at(deadline):  # a trickling upload holds a place
            form = await read_predict_form(request)
            frames = accept_uploads(form.uploads, max_file_bytes=service.settings.max_file_bytes)
            model = await service.model(form.model_name)
    except TimeoutError as exc:
        raise DeadlineExceeded(f"the upload, and finding its model, took more than {deadline_s:g} s") from exc
    request.state.session_id, request.state.n_frames = form.session_id, len(frames)
    threshold = model.threshold if form.threshold is None else form.threshold
    return Batch(form, frames, model, threshold, deadline)


async def answer(
    service: Service, batch: Batch, on_outcome: Callable[[FrameOutcome], None] = lambda _: None
) -> BatchBody:
    """Score the frames and gather the answer; ``on_outcome`` is told of each frame as it is finished.

    Raises:
        RequestError: the request could not be served, or passed its deadline.
    """
    scoring = Scoring(batch.model, with_reasons="reasons" in batch.form.include)
    outcomes = await service.pipeline.run(batch.frames, scoring, on_outcome, deadline=batch.deadline)
    cleanup, output_dir = await _settle_csvs(service, batch, outcomes)
    predictions = [frame_prediction(outcome, threshold=batch.threshold) for outcome in outcomes]
    summary = summarise(
        [prediction for prediction in predictions if prediction],
        n_frames=len(outcomes),
        threshold=batch.threshold,
        uncertain_band=batch.uncertain_band,
    )
    return BatchBody(
        status=answer_status(summary),
        session_id=batch.form.session_id,
        frames_processed=len(outcomes),
        predictions=[batch.frame_body(outcome) for outcome in outcomes],
        summary=summary_body(summary, batch.model),
        cleanup=cleanup,
        output_dir=output_dir,
    )


def prefers_events(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) names the event stream, and JSON with no more weight."""
    weights = {EVENT_STREAM: 0.0}
    for media_range in accept.lower().split(","):
        media_type, _, parameters = media_range.partition(";")
        weight = _WEIGHT.search(parameters)
        weights[media_type.strip()] = float(weight[1]) if weight else 1.0
    of_json = next((weights[name] for name in ("application/json", "application/*", "*/*") if name in weights), 0.0)
    return weights[EVENT_STREAM] > 0 and weights[EVENT_STREAM] >= of_json


class EventStream(StreamingResponse):
    """Sends events, whose work ends with it: also where it is cancelled while a client takes none."""

    def __init__(self, events: AsyncGenerator[str]) -> None:
        super().__init__(events, media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send the events; an iterator that was left alone would wait for the garbage collector."""
        async with aclosing(self._events):
            await super().stream_response(send)


async def answer_events(service: Service, batch: Batch, request_id: str) -> AsyncGenerator[str]:
    """Server-sent events: ``frame`` for each as it is finished, then ``result``, or ``problem`` in its place."""
    events: asyncio.Queue[str | None] = asyncio.Queue()

    def tell(outcome: FrameOutcome) -> None:
        events.put_nowait(_event("frame", batch.frame_body(outcome)))

    answering = asyncio.create_task(answer(service, batch, tell))
    answering.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        error = answering.exception()
        if error is not None:
            log_unexpected(error, request_id)
        yield _event("problem", problem_of(error, request_id)) if error else _event("result", answering.result())
    except asyncio.CancelledError:  # the service stops; a client that left hears nothing of it
        yield _event("problem", problem_of(stopping(), request_id))
        raise
    finally:
        answering.cancel()
        await asyncio.wait([answering])


def _event(name: str, body: BaseModel) -> str:
    return f"event: {name}\ndata: {body.model_dump_json(exclude_unset=True)}\n\n"


async def _settle_csvs(service: Service, batch: Batch, outcomes: Sequence[FrameOutcome]) -> tuple[str, str | None]:
    """Drop the CSVs, or keep them: what ``cleanup`` and ``output_dir`` say. Never fails the request."""
    csvs = {outcome.frame.csv_name: outcome.csv for outcome in outcomes if outcome.csv is not None}
    if batch.form.cleanup:
        return f"Deleted {len(csvs)} CSV files", None
    try:
        async with asyncio.timeout_at(batch.deadline):
            folder = await asyncio.to_thread(service.sessions.keep, batch.form.session_id, csvs)
    except OSError as exc:  # TimeoutError is one
        logger.warning("session_id=%s: the CSV files could not be kept: %r", batch.form.session_id, exc)
        return f"Could not keep {len(csvs)} CSV files: {exc.strerror or 'the output folder failed'}", None
    return f"Kept {len(csvs)} CSV files", str(folder)
