"""What every request passes through: its id, and its line in the log.

Pure ASGI, for Starlette's BaseHTTPMiddleware breaks cancellation.
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/health"})  # probes, every few seconds
_CLIENT_LEFT = 499


class RequestContext:
    """Takes or makes ``X-Request-ID``, echoes it, and logs one line when the request ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = _CLIENT_LEFT, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            if status == _CLIENT_LEFT:  # else it is answered and logged: Starlette raises it again for its server
                raise
        finally:
            _log(scope, status, (time.perf_counter() - started) * 1e3)


def _request_id(offered: str | None) -> str:
    """Take the client's id if it can stand in a header and a log line."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


def _log(scope: Scope, status: int, elapsed_ms: float) -> None:
    state = scope["state"]
    logger.log(
        logging.DEBUG if scope["path"] in _QUIET_PATHS else logging.INFO,
        "%s %s %d request_id=%s session_id=%s n_frames=%s elapsed_ms=%.0f",
        scope["method"],
        scope["path"],
        status,
        state["request_id"],
        state.get("session_id", "-"),
        state.get("n_frames", "-"),
        elapsed_ms,
    )
