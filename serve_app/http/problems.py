"""Refusals as problem+json (RFC 9457); no path, traceback or secret leaves through them."""

import logging
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serve_app.errors import Overloaded, RequestError
from serve_app.http.contract import ProblemBody

logger = logging.getLogger(__name__)

CLIENT_LEFT = 499  # as nginx logs it
_RESTART_S = 30  # from the service's end to its next answer


def problem_of(error: BaseException, request_id: str) -> ProblemBody:
    """Say what happened in the words that a client may see."""
    if isinstance(error, RequestError):
        return _problem(error.code, error.title, error.http_status, str(error), request_id)
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        return _problem(phrase.lower().replace(" ", "_"), phrase, error.status_code, str(error.detail), request_id)
    detail = f"an unexpected error was logged under request_id {request_id}"
    return _problem("internal_error", "Internal error", 500, detail, request_id)


def stopping() -> Overloaded:
    """What a request is told that the end of the service cuts off."""
    return Overloaded("the service is being stopped; send the request again", retry_after_s=_RESTART_S)


def log_unexpected(error: BaseException, request_id: str) -> None:
    """Log what a client is told only the request id of."""
    if not isinstance(error, RequestError | HTTPException):
        logger.error("request_id=%s failed", request_id, exc_info=error)


async def answer_problem(request: Request, error: Exception) -> Response:
    """Answer any exception of a route; FastAPI's handler for RequestError, HTTPException and the rest."""
    problem = problem_of(error, request.state.request_id)
    log_unexpected(error, request.state.request_id)
    headers = dict(getattr(error, "headers", None) or {})
    if isinstance(error, RequestError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return Response(problem.model_dump_json(), problem.status, headers, media_type="application/problem+json")


async def answer_nobody(_request: Request, _error: Exception) -> Response:
    """End the request of a client that left in the middle of its upload; FastAPI's handler for ClientDisconnect."""
    return Response(status_code=CLIENT_LEFT)


def _problem(code: str, title: str, status: int, detail: str, request_id: str) -> ProblemBody:
    return ProblemBody(
        type=f"urn:deepfake-serve:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        error=detail,
    )
