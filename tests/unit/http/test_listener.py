"""The ingress's own address: requests answered, clients that leave, an orderly end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from serve_app.addresses import free_port, listening_socket
from serve_app.errors import SetupError
from serve_app.http.app import create_app
from serve_app.http.listener import Listener, Listening
from serve_app.http.middleware import RequestContext, facing_clients
from serve_app.http.service import Service
from serve_app.settings import ListenSettings
from tests.unit import stages
from tests.unit.in_time import run_within

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Application:
    """Reads the body, then answers once it may; keeps what became of its last request."""

    def __init__(self, body: bytes = b"done") -> None:
        self.may_answer = asyncio.Event()
        self.working = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
            self.working.set()
            await self.may_answer.wait()
            headers = [(b"content-length", str(len(self._body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self._body})
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # what it called is cancelled, too
            self.cancelled = True
            raise
        finally:
            self.ended.set()


@asynccontextmanager
async def listening(app: Application) -> AsyncIterator[tuple[Listener, ListenSettings]]:
    address = ListenSettings(port=free_port())
    listener = Listener(RequestContext(facing_clients(app), echo_id=True), address)
    await listener.start()
    try:
        yield listener, address
    finally:
        app.may_answer.set()
        await listener.stop()


async def connect(address: ListenSettings) -> Client:
    while True:
        try:
            return await asyncio.open_connection(address.host, address.port)
        except ConnectionRefusedError:  # uvicorn listens a moment after it was started
            await asyncio.sleep(0.01)


async def post(address: ListenSettings, body: bytes = b"frames", *, headers: bytes = b"", path: bytes = b"/") -> Client:
    """Send a request; its answer is not awaited."""
    reader, writer = await connect(address)
    head = b"POST %s HTTP/1.1\r\nHost: here\r\n%sContent-Length: %d\r\n\r\n" % (path, headers, len(body))
    writer.write(head + body)
    await writer.drain()
    return reader, writer


def test_a_request_is_answered() -> None:
    """Twice over one connection."""

    async def twice() -> None:
        app = Application()
        async with listening(app) as (_, address):
            app.may_answer.set()
            reader, writer = await post(address)
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
            writer.close()
        assert not app.cancelled

    run_within(20, twice)


def test_an_offer_of_http_2_is_passed_over() -> None:
    """Java's HttpClient makes one with its first request unless told otherwise; its body is read all the same."""

    async def offer() -> None:
        bodies = list[bytes]()

        async def echo(_: Scope, receive: Receive, send: Send) -> None:
            while (message := await receive()).get("body"):
                bodies.append(message["body"])
                if not message["more_body"]:
                    break
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"done"})

        listener = Listener(echo, address := ListenSettings(port=free_port()))
        await listener.start()
        offered = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
        reader, writer = await post(address, headers=offered)
        assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
        assert b"".join(bodies) == b"frames"
        writer.close()
        await listener.stop()

    run_within(20, offer)


def test_headers_without_end_are_refused() -> None:
    """They are kept in memory until they end, where no limit of a body counts."""

    async def pour() -> None:
        app = Application()
        async with listening(app) as (_, address):
            reader, writer = await connect(address)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n")
            with pytest.raises(ConnectionError):
                for _ in range(1000):
                    writer.write(b"X-More: " + b"x" * 10_000 + b"\r\n")
                    await writer.drain()
            assert not app.working.is_set()
            with suppress(ConnectionError):
                assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()

    run_within(20, pour)


def test_a_client_that_leaves_cancels_its_work() -> None:
    """Its body was read whole: nothing else would tell the application."""

    async def leave() -> None:
        app = Application()
        async with listening(app) as (_, address):
            _, writer = await post(address)
            await app.working.wait()
            writer.close()
            await app.ended.wait()
            assert app.cancelled

    run_within(20, leave)


def test_a_client_that_leaves_with_its_answer_cancels_nothing() -> None:
    """Work after the last byte, such as the log line, is finished."""

    async def tail() -> None:
        left, finished = asyncio.Event(), asyncio.Event()

        class Tailed(Application):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                await super().__call__(scope, receive, send)
                await left.wait()
                await asyncio.sleep(0.05)
                finished.set()

        app = Tailed()
        app.may_answer.set()
        async with listening(app) as (_, address):
            reader, writer = await post(address)
            await reader.readuntil(b"done")
            writer.close()
            left.set()
            await finished.wait()

    run_within(20, tail)


def test_a_client_that_leaves_a_stream_ends_it() -> None:
    """Starlette waits for the client's leaving, too."""

    async def leave() -> None:
        ended = asyncio.Event()

        async def events() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"event: frame\n\n"
                    await asyncio.sleep(0.01)
            finally:
                ended.set()

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await StreamingResponse(events())(scope, receive, send)

        listener = Listener(facing_clients(stream), address := ListenSettings(port=free_port()))
        await listener.start()
        reader, writer = await post(address)
        await reader.readuntil(b"event: frame")
        writer.close()
        await ended.wait()
        await listener.stop()

    run_within(20, leave)


def test_a_client_that_takes_nothing_of_a_stream_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would hold its place for as long as it keeps the connection open."""

    async def stall() -> None:
        monkeypatch.setattr("serve_app.http.middleware._TAKE_S", 0.1)
        ended = asyncio.Event()

        async def events() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1_000_000)

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await StreamingResponse(events())(scope, receive, send)
            finally:
                ended.set()

        listener = Listener(facing_clients(stream), address := ListenSettings(port=free_port()))
        await listener.start()
        _, writer = await post(address)
        await ended.wait()
        writer.transport.abort()
        await listener.stop()

    run_within(20, stall)


def test_an_answer_that_does_not_wait_for_the_body_arrives() -> None:
    """Also where the connection is closed after it, as nginx asks for: unread bytes would reset it."""

    async def refuse(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"large"})

    async def upload() -> None:
        listener = Listener(facing_clients(refuse), address := ListenSettings(port=free_port()))
        await listener.start()
        reader, writer = await post(address, bytes(4_000_000), headers=b"Connection: close\r\n")
        assert (await reader.read()).endswith(b"large")
        writer.close()
        await listener.stop()

    run_within(20, upload)


def test_stopping_finishes_the_request_under_way() -> None:
    """No new one is taken meanwhile."""

    async def stop() -> None:
        app = Application()
        async with listening(app) as (listener, address):
            reader, writer = await post(address)
            await app.working.wait()
            stopping = asyncio.create_task(listener.stop())
            with pytest.raises(ConnectionError):
                while True:
                    socket.create_connection((address.host, address.port)).close()
                    await asyncio.sleep(0.01)
            app.may_answer.set()
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
            await stopping
            writer.close()

    run_within(20, stop)


def test_stopping_tells_the_request_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a problem that says to come again; the server's own words would be a bare 500."""

    async def stop() -> None:
        monkeypatch.setattr("serve_app.http.listener._FINISH_S", 0.1)
        app = Application()
        async with listening(app) as (listener, address):
            reader, writer = await post(address)
            await app.working.wait()
            await listener.stop()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503")
            assert b'"code":"overloaded"' in answer
            assert b"x-request-id: " in answer.lower()
            assert app.cancelled
            writer.close()

    run_within(20, stop)


def test_stopping_ends_a_stream_with_a_problem(
    make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the frames that were finished: the status was sent before them."""

    async def stop() -> None:
        monkeypatch.setattr("serve_app.http.listener._FINISH_S", 0.1)
        listener = Listener(create_app(make_service()), address := ListenSettings(port=free_port()))
        await listener.start()
        files = [("files", (f"{index}.jpg", image)) for index, image in enumerate((b"text", stages.HANGS))]
        form = Request("POST", "http://here", files=files, headers={"Accept": "text/event-stream"}).prepare()
        assert isinstance(form.body, bytes)
        headers = "".join(f"{name}: {form.headers[name]}\r\n" for name in ("Accept", "Content-Type")).encode()
        reader, writer = await post(address, form.body, headers=headers, path=b"/batch/predict")
        await reader.readuntil(b"event: frame")
        await listener.stop()
        rest = await reader.read()
        assert b"event: problem" in rest
        assert b'"code":"overloaded"' in rest
        assert b"event: result" not in rest
        writer.close()

    run_within(20, stop)


def test_the_lifespan_opens_and_closes_the_address() -> None:
    """As Serve runs it in the replica; connections that were killed do not keep the next one from the address."""

    async def lifespan() -> None:
        app, address = Application(), ListenSettings(port=free_port())
        app.may_answer.set()
        for _ in range(2):
            told: asyncio.Queue[Message] = asyncio.Queue()
            said: asyncio.Queue[Message] = asyncio.Queue()
            life = asyncio.create_task(Listening(app, address)({"type": "lifespan"}, told.get, said.put))
            await told.put({"type": "lifespan.startup"})
            assert (await said.get())["type"] == "lifespan.startup.complete"
            reader, writer = await post(address)
            await reader.readuntil(b"done")
            await told.put({"type": "lifespan.shutdown"})
            assert (await said.get())["type"] == "lifespan.shutdown.complete"
            await life
            writer.close()

    run_within(20, lifespan)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_address_is_said(host: str) -> None:
    """Before anything is started, and with what to do."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"{port}: Address already in use; set HOST or PORT"):
            listening_socket(ListenSettings(host=host, port=port))


def test_an_address_of_elsewhere_is_said() -> None:
    """192.0.2.1 is no one's."""
    with pytest.raises(SetupError, match=r"192\.0\.2\.1"):
        listening_socket(ListenSettings(host="192.0.2.1", port=free_port()))
