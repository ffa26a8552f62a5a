"""An address of the application's own: uvicorn beside it, with no proxy between it and its clients."""

import asyncio

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.addresses import listening_socket
from serve_app.settings import ListenSettings

_KEEP_ALIVE_S = 90  # as Serve's proxy
_FINISH_S = 5  # for requests under way at the end; Serve kills a replica after 20 s
_CANCEL_S = 6  # for those that were cancelled then: an answer that says so, and what is left of its request's body


class Listening:
    """An ASGI application that its own address serves too, from the lifespan's startup to its shutdown."""

    def __init__(self, app: ASGIApp, address: ListenSettings) -> None:
        self._app = app
        self._listener = Listener(app, address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()  # lifespan.startup
        await self._listener.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self._listener.stop()
        await send({"type": "lifespan.shutdown.complete"})


class Listener:
    """Serves an ASGI application at one address."""

    def __init__(self, app: ASGIApp, address: ListenSettings) -> None:
        self._address = address
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",  # httptools drops the body of who offers HTTP/2, as Java does, and bounds no headers
                lifespan="off",
                ws="none",
                access_log=False,
                log_config=None,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_FINISH_S,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            SetupError: the address is taken, or is not this machine's.
        """
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening_socket(self._address)]))

    async def stop(self) -> None:
        """Take no more requests, and finish those under way, or cancel them after ``_FINISH_S``."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        if tasks := self._server.server_state.tasks:  # uvicorn cancels them, and does not wait for their end
            await asyncio.wait(tasks, timeout=_CANCEL_S)
