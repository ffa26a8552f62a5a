"""The form of ``POST /batch/predict``: its fields, read and checked."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from serve_app.errors import InvalidField, NoFiles, UnsupportedFileType
from serve_app.frames import Upload
from serve_app.http.contract import Include
from serve_app.sessions import check_session_id, new_session_id
from serve_app.settings import DEFAULT_MODEL

_TEXT_FIELDS = ("session_id", "model_name", "cleanup", "threshold", "include")
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_MAX_MODEL_NAME = 128

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
        InvalidField: a field is unknown, given twice or malformed.
    """
    _check_media_type(request.headers.get("content-type", ""))
    async with request.form() as form:
        fields = _text_fields(form)
        return PredictForm(
            uploads=[Upload(file.filename or "", await file.read()) for file in _files(form)],
            session_id=check_session_id(fields["session_id"]) if "session_id" in fields else new_session_id(),
            model_name=_model_name(fields.get("model_name", DEFAULT_MODEL)),
            cleanup=_flag(fields.get("cleanup", "true")),
            threshold=_threshold(fields["threshold"]) if "threshold" in fields else None,
            include=_include(fields.get("include", "")),
        )


def _check_media_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/x-www-form-urlencoded"):  # what curl says when it was given no file
        raise NoFiles("no frame was uploaded: send 1 to 30 images in the form field 'files'")
    if media_type != "multipart/form-data":
        raise UnsupportedFileType(f"the body is {media_type[:60]!r}: send multipart/form-data")


def _files(form: FormData) -> Iterable[UploadFile]:
    for value in form.getlist("files"):
        if not isinstance(value, UploadFile):
            raise InvalidField("the field 'files' holds text: send a file in it")
        if value.filename or value.size:  # a browser sends an empty part where nothing was chosen
            yield value


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
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not 0 <= threshold <= 1:
        raise InvalidField(f"threshold must be a number from 0 to 1, not {text[:20]!r}")
    return threshold


def _include(text: str) -> frozenset[Include]:
    asked = {part.strip() for part in text.split(",") if part.strip()}
    known: tuple[Include, ...] = get_args(Include)
    unknown = asked.difference(known)
    if unknown:
        raise InvalidField(f"include knows {', '.join(known)}, not {min(unknown)[:20]!r}")
    return frozenset(part for part in known if part in asked)
