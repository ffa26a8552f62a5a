"""The form of ``POST /batch/predict``: its fields, read and checked."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import get_args

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serve_app.errors import GarbledForm, InvalidField, NoFiles, TooManyFrames, UnsupportedFileType
from serve_app.frames import Upload
from serve_app.http.contract import Include
from serve_app.sessions import check_session_id, new_session_id
from serve_app.settings import DEFAULT_MODEL, MAX_FRAMES

_TEXT_FIELDS = ("session_id", "model_name", "cleanup", "threshold", "include")
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_MAX_MODEL_NAME = 128
_CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252")  # punycode: 26 s for 1 MB
_MAX_PARTS = 100  # are read, so that the refusal can name the field at fault, or how many frames there are
# float() would take 0_5 as 5. Digits match in one way only, or 32 kB of them would hold the event loop for 20 s.
_NUMBER = re.compile(r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)

PREDICT_FORM_SCHEMA = {
    "type": "object",
    "required": ["files"],
    "additionalProperties": False,
    "properties": {
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "minItems": 1,
            "maxItems": 30,
            "description": "The frames, in order: .jpg, .jpeg, .png or .bmp",
        },
        "session_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "description": "Made when absent"},
        "model_name": {"type": "string", "default": DEFAULT_MODEL, "description": "NAME (newest) or NAME@VERSION"},
        "cleanup": {"type": "boolean", "default": True, "description": "false keeps the CSVs in OUTPUT_DIR"},
        "threshold": {"type": "number", "minimum": 0, "maximum": 1, "description": "In place of the model's"},
        "include": {
            "type": "string",
            "description": f"Added to each prediction, comma-separated: {', '.join(get_args(Include))}",
        },
    },
}


@dataclass(frozen=True)
class PredictForm:
    """A checked form; ``threshold`` is None where the model's holds."""

    uploads: list[Upload]
    session_id: str
    model_name: str
    cleanup: bool
    threshold: float | None
    include: frozenset[Include]


async def read_predict_form(request: Request) -> PredictForm:
    """Read the request's multipart body.

    Raises:
        UnsupportedFileType: the body is of another media type.
        NoFiles: there is no body.
        GarbledForm: the body is no form, or not a whole one.
        TooManyFrames: it has more parts than any form of this service.
        InvalidField: a field is unknown, given twice or malformed.
    """
    _check_media_type(request.headers.get("content-type", ""))
    async with _parsed(request) as form:
        fields = _text_fields(form)
        return PredictForm(
            uploads=[Upload(_file_name(file), await file.read()) for file in _files(form)],
            session_id=check_session_id(fields["session_id"]) if "session_id" in fields else new_session_id(),
            model_name=_model_name(fields.get("model_name", DEFAULT_MODEL)),
            cleanup=_flag(fields.get("cleanup", "true")),
            threshold=_threshold(fields["threshold"]) if "threshold" in fields else None,
            include=_include(fields.get("include", "")),
        )


class _FormParser(MultiPartParser):
    """Starlette's parser, but a form that was cut short is no form of fewer parts."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes]) -> None:
        super().__init__(headers, self._whole(stream))
        self._has_ended = False

    def on_part_begin(self) -> None:
        """Refuse what is no request for a few frames, without reading on."""
        if len(self.items) >= _MAX_PARTS:
            message = f"the form has more than {_MAX_PARTS} parts: at most {MAX_FRAMES} frames are taken in one request"
            raise TooManyFrames(message)
        super().on_part_begin()

    def on_end(self) -> None:
        """Take note of the closing boundary."""
        self._has_ended = True

    async def _whole(self, stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async for chunk in stream:
            yield chunk
        if not self._has_ended:
            raise GarbledForm("the form is cut short: its closing boundary is missing; send it again")


@asynccontextmanager
async def _parsed(request: Request) -> AsyncIterator[FormData]:
    """Parse the body; its files are closed in the end."""
    async with aclosing(request.stream()) as stream:
        try:
            form = await _FormParser(request.headers, stream).parse()
        except MultiPartException as exc:
            raise GarbledForm(f"the body is no form: {exc.message}") from exc
    try:
        yield form
    finally:
        await form.close()


def _check_media_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/x-www-form-urlencoded"):  # what curl says when it was given no file
        raise NoFiles("no frame was uploaded: send 1 to 30 images in the form field 'files'")
    if media_type != "multipart/form-data":
        raise UnsupportedFileType(f"the body is {media_type[:60]!r}: send multipart/form-data")
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in _CHARSETS:
        raise GarbledForm(f"the form's text is in {charset[:20]!r}: send it in UTF-8")


def _files(form: FormData) -> Iterable[UploadFile]:
    for value in form.getlist("files"):
        if not isinstance(value, UploadFile):
            raise InvalidField("the field 'files' holds text: send a file in it")
        if value.filename or value.size:  # a browser sends an empty part where nothing was chosen
            yield value


def _file_name(file: UploadFile) -> str:
    """Read a file's name, also one that .NET has encoded as in a mail (RFC 2047) because it is not ASCII."""
    name = file.filename or ""
    try:
        return str(make_header(decode_header(name))) if name.startswith("=?") else name
    except (MessageError, LookupError, ValueError):
        return name


def _text_fields(form: FormData) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if name == "files":
            continue
        if name not in _TEXT_FIELDS:
            raise InvalidField(f"unknown field {name[:40]!r}; known are files, {', '.join(_TEXT_FIELDS)}")
        if not isinstance(value, str):
            raise InvalidField(f"the field {name!r} holds a file: send text in it")
        if name in fields:
            raise InvalidField(f"the field {name!r} is given twice")
        fields[name] = value
    return fields


def _model_name(text: str) -> str:
    if not text or len(text) > _MAX_MODEL_NAME:
        raise InvalidField(f"model_name must have 1 to {_MAX_MODEL_NAME} characters")
    return text


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise InvalidField(f"cleanup must be true or false, not {text[:20]!r}") from None


def _threshold(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip()) or float(text) > 1:
        raise InvalidField(f"threshold must be a number from 0 to 1, not {text[:20]!r}")
    return float(text)


def _include(text: str) -> frozenset[Include]:
    asked = {part.strip() for part in text.split(",") if part.strip()}
    known: tuple[Include, ...] = get_args(Include)
    unknown = asked.difference(known)
    if unknown:
        raise InvalidField(f"include knows {', '.join(known)}, not {min(unknown)[:20]!r}")
    return frozenset(part for part in known if part in asked)
