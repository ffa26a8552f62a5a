"""What requests pass through: their id, their line in the log, the limit of a body and its end, a client that leaves.

Pure ASGI, for Starlette's BaseHTTPMiddleware breaks cancellation.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import PayloadTooLarge
from serve_app.http.problems import CLIENT_LEFT, answer_problem, stopping

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")  # a header has no line ends: it stays one line of the log
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/health"})  # probes, every few seconds
_READ_ON_S = 5.0
_TAKE_S = 30.0  # for a client to take a part of its answer: until it has, it holds a place


class RequestContext:
    """Takes or makes ``X-Request-ID``, echoes it, and logs one line when the request ends."""

    def __init__(self, app: ASGIApp, *, echo_id: bool) -> None:
        self._app = app
        self._echo_id = echo_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = CLIENT_LEFT, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echo_id:
                    MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            if status == CLIENT_LEFT:  # else it is answered and logged: Starlette raises it again for its server
                raise
        finally:
            _log(scope, status, (time.perf_counter() - started) * 1e3)


class BodyLimit:
    """Refuses a body once it is too large, whatever it declared, or more than there is room for.

    Starlette's own limit would answer in plain text.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; reading its body raises PayloadTooLarge or Overloaded inside the route."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            check_size(received, max_bytes=self._max_bytes)
            if place := scope.get("state", {}).get("place"):
                place.grow_to(received)
            return message

        await self._app(scope, receive_limited, send)


class CancelOnDisconnect:
    """Cancels the work of a request whose client has left before it was answered in full, or takes no more of it.

    Where the server cancels it, for its time to stop is over, the client is told to come again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        serving = asyncio.current_task()
        if scope["type"] != "http" or serving is None:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, on_left=serving.cancel)
        watcher = asyncio.create_task(exchange.watch())
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.client_left and not exchange.is_begun:
                problem = await answer_problem(Request(scope), stopping())
                await problem(scope, receive, exchange.send)
        finally:
            watcher.cancel()
            if serving.cancelling():  # ends here, for it is the whole task
                serving.uncancel()


class _Exchange:
    """A request and its answer: how far it is, and whether its client still takes part."""

    def __init__(self, receive: Receive, send: Send, *, on_left: Callable[[], object]) -> None:
        self.client_left = False
        self.is_begun = False  # the answer
        self._is_answered = False
        self._body_is_read = asyncio.Event()
        self._receive, self._send, self._on_left = receive, send, on_left

    async def receive(self) -> Message:
        """Take the next part of the request's body."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._body_is_read.set()
        return message

    async def send(self, message: Message) -> None:
        """Send the next part of the answer."""
        self.is_begun, self._is_answered = True, _ends_answer(message)
        try:
            async with asyncio.timeout(_TAKE_S):
                await self._send(message)
        except TimeoutError:
            self._leave()
            await asyncio.Event().wait()  # to be cancelled: a response may send from a task of its own

    async def watch(self) -> None:
        """Wait for the client to leave."""
        await self._body_is_read.wait()  # until then the reader of the body is told
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_answered:
            self._leave()

    def _leave(self) -> None:
        self.client_left = True
        self._on_left()


class ReadToTheEnd:
    """Reads on, for a moment, what is left of a body when its answer is sent.

    A connection that is closed with unread bytes is reset, and the answer lost with it: to nginx, which by default asks
    for it to be closed, a refusal would be a broken server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        is_read = False

        async def receive_body() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = not message.get("more_body", False)
            return message

        async def send_answer(message: Message) -> None:
            if _ends_answer(message) and not is_read:
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(_READ_ON_S):
                        while not is_read:
                            await receive_body()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_body, send_answer)


class HeadAsGet:
    """Answers HEAD as GET, which FastAPI does not; the server sends no body for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._app({**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope, receive, send)


def facing_clients(app: ASGIApp) -> ASGIApp:
    """Do for an application that clients reach directly what Serve's proxy does for one behind it."""
    return ReadToTheEnd(CancelOnDisconnect(app))


def declared_bytes(headers: Headers) -> int:
    """Read Content-Length; 0 where the body is chunked."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


def check_size(n_bytes: int, *, max_bytes: int) -> None:
    """Refuse a body of more bytes; raises PayloadTooLarge."""
    if n_bytes > max_bytes:
        raise PayloadTooLarge(f"the body is larger than the {max_bytes} bytes that are taken")


def _ends_answer(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


def _has_body(headers: Headers) -> bool:
    return declared_bytes(headers) > 0 or "transfer-encoding" in headers


def _request_id(offered: str | None) -> str:
    """Take the client's id if it is short plain text."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


def _log(scope: Scope, status: int, elapsed_ms: float) -> None:
    state = scope["state"]
    logger.log(
        logging.DEBUG if scope["path"] in _QUIET_PATHS else logging.INFO,
        "%s %s %d request_id=%s session_id=%s n_frames=%s elapsed_ms=%.0f",
        scope["method"],
        quote(scope["path"]),  # a decoded line end would begin a line of the client's own
        status,
        state["request_id"],
        state.get("session_id", "-"),
        state.get("n_frames", "-"),
        elapsed_ms,
    )
