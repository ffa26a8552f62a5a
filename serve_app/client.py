"""The Python client: frames on disk to the service's answer."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import requests

from serve_app.settings import DEFAULT_MODEL, MAX_FRAMES

Answer = dict[str, Any]  # the JSON of http/contract.py, as the seed's client returned it


class ServiceRefused(Exception):  # noqa: N818 - named for what happened
    """The service refused the request; ``code`` and ``detail`` are those of its problem+json."""

    def __init__(
        self, detail: str, *, status: int = 0, code: str = "unknown", retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class BatchDeepfakeClient:
    """Talks to one service. Every method raises ServiceRefused for a refusal, requests.RequestException for a failure.

    ``timeout_s`` bounds each wait for the service's next byte: a little over its own deadline of 180 s.
    """

    def __init__(self, base_url: str = "http://localhost:8001", *, timeout_s: float = 200.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def health_check(self) -> Answer:
        """Ask what runs, and with what."""
        return _json(self._session.get(f"{self._base_url}/health", timeout=self._timeout_s))

    def predict_batch(
        self,
        frame_paths: Sequence[str | Path],
        session_id: str | None = None,
        model_name: str = DEFAULT_MODEL,
        cleanup: bool = True,
        **fields: str | float,
    ) -> Answer:
        """Score 1 to 30 frames in one request; ``fields`` are further form fields, such as ``threshold``."""
        form = _form(session_id, model_name, cleanup=cleanup, **fields)
        with self._post(frame_paths, form, stream=False) as response:
            return _json(response)

    def predict_from_directory(
        self,
        directory: str | Path,
        max_frames: int = MAX_FRAMES,
        pattern: str = "*.jpg",
        **options: Any,  # passed on to predict_batch
    ) -> Answer:
        """Score the first ``max_frames`` files of a folder, by name.

        Raises:
            FileNotFoundError: no file there matches ``pattern``.
        """
        frame_paths = sorted(path for path in Path(directory).glob(pattern) if path.is_file())[:max_frames]
        if not frame_paths:
            raise FileNotFoundError(f"no file matches {pattern} in {directory}")
        return self.predict_batch(frame_paths, **options)

    def stream_batch(
        self,
        frame_paths: Sequence[str | Path],
        session_id: str | None = None,
        model_name: str = DEFAULT_MODEL,
        *,
        cleanup: bool = True,
        **fields: str | float,
    ) -> Iterator[tuple[str, Answer]]:
        """Yield ``("frame", prediction)`` as each is finished, then ``("result", answer)``."""
        form = _form(session_id, model_name, cleanup=cleanup, **fields)
        with self._post(frame_paths, form, stream=True) as response:
            if not response.ok:
                _json(response)
            for name, body in _events(response):
                if name == "problem":
                    raise _refusal(body)
                yield name, body
                if name == "result":
                    return
            raise requests.ConnectionError("the service's answer broke off")

    def _post(self, frame_paths: Sequence[str | Path], form: dict[str, str], *, stream: bool) -> requests.Response:
        with ExitStack() as files:
            parts = [("files", (file_name(path), files.enter_context(Path(path).open("rb")))) for path in frame_paths]
            return self._session.post(
                f"{self._base_url}/batch/predict",
                data=form,
                files=parts,
                headers={"Accept": "text/event-stream" if stream else "application/json"},
                timeout=self._timeout_s,
                stream=stream,
            )


def file_name(path: str | Path) -> str:
    """What a file is called in a request and on a terminal: in UTF-8, with a ``?`` for what is none."""
    return Path(path).name.encode(errors="replace").decode()


def _form(session_id: str | None, model_name: str, *, cleanup: bool, **fields: str | float) -> dict[str, str]:
    form = {"model_name": model_name, "cleanup": str(cleanup).lower()}
    if session_id is not None:
        form["session_id"] = session_id
    return form | {name: str(value) for name, value in fields.items()}


def _json(response: requests.Response) -> Answer:
    """Read the answer.

    Raises:
        ServiceRefused: it is none.
        requests.ConnectionError: it is no answer of this service, but of a gateway or of another one.
    """
    body = _object(response.content)
    if not response.ok:
        retry_after = response.headers.get("Retry-After", "")
        refusal = {"detail": response.text[:200] or response.reason} if body is None else body
        raise _refusal(refusal | {"status": response.status_code}, retry_after=retry_after)
    if body is None:
        raise requests.ConnectionError(f"what answers at {response.url} is not this service: it sent no JSON object")
    return body


def _object(content: bytes) -> Answer | None:
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _refusal(problem: Answer, *, retry_after: str = "") -> ServiceRefused:
    return ServiceRefused(
        str(problem.get("detail") or "no reason was given"),
        status=problem.get("status", 0),
        code=str(problem.get("code", "unknown")),
        retry_after_s=int(retry_after) if retry_after.isdecimal() else None,
    )


def _events(response: requests.Response) -> Iterator[tuple[str, Answer]]:
    """Parse the service's events: an ``event:`` line, a ``data:`` line of JSON, an empty line."""
    name = "message"
    for line in response.iter_lines(decode_unicode=False):
        field, _, value = line.partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data":
            body = _object(value)
            if body is None:
                return  # it broke off in the middle
            yield name, body
