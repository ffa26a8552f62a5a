"""The error tree.

ServiceError
├── RequestError            the whole request is refused (problem+json)
│   ├── NoFiles                 400
│   ├── GarbledForm             400
│   ├── UnknownModel            404
│   ├── BackendMismatch         409
│   ├── TooManyFrames           413
│   ├── PayloadTooLarge         413
│   ├── UnsupportedFileType     415
│   ├── InvalidField            422
│   ├── Overloaded              503 + Retry-After
│   ├── ReplicaLost             503 + Retry-After
│   └── DeadlineExceeded        504
├── FrameError              one frame has no score; travels as a value in that frame's slot
│   ├── NoFace, LowQuality, Undecodable, ExtractionFailed, FrameTimeout
│   └── TableError              the frame's CSV is not what OpenFace writes; names the column
└── SetupError              this installation cannot do what was asked; refuse to start
    ├── WeightsMissing          the face-mesh networks are not in the cache
    ├── OpenFaceUnusable        the FeatureExtraction binary is absent, or does not do its work
    ├── ArtifactInvalid         a detector's manifest, hash or features do not hold
    ├── RowsUnusable            rows cannot be measured or learnt from: no fake among them, say
    ├── DatasetInvalid          a folder of labelled CSVs does not hold what its labels file says
    ├── CheckpointUnusable      an interrupted training cannot be continued from what it left
    ├── ExtraMissing            an optional part of the package is not installed
    └── DeviceUnavailable       CUDA was demanded and is absent

Every class pickles: the message is positional, everything else keyword-only with a default, and the
attributes live in ``__dict__``.
"""

from typing import ClassVar, Literal

FrameStatus = Literal["ok", "no_face", "low_quality", "undecodable", "extraction_failed", "timeout"]


class ServiceError(Exception):
    """Base of every failure this project expects."""


def in_one_line(exc: Exception) -> str:
    """What a library's exception says, for a message of our own: torch writes the reason on its second line."""
    return " ".join((str(exc) or type(exc).__name__).split())[:300]


class RequestError(ServiceError):
    """The request itself is wrong, or cannot be served now: it is refused whole."""

    http_status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "Bad request"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoFiles(RequestError):
    """The upload holds no frame."""

    code = "no_files"
    title = "No frame in the request"


class GarbledForm(RequestError):
    """The body is no whole form."""


class UnknownModel(RequestError):
    """No model of that name is loaded."""

    http_status = 404
    code = "unknown_model"
    title = "Unknown model"


class BackendMismatch(RequestError):
    """The model was trained on features of another extractor backend than the one that runs."""

    http_status = 409
    code = "backend_mismatch"
    title = "Model and extractor do not match"


class TooManyFrames(RequestError):
    """More frames than one request may hold."""

    http_status = 413
    code = "too_many_frames"
    title = "Too many frames"


class PayloadTooLarge(RequestError):
    """The body, or one file of it, is over its size limit."""

    http_status = 413
    code = "payload_too_large"
    title = "Payload too large"


class UnsupportedFileType(RequestError):
    """A file name does not end in an accepted image extension."""

    http_status = 415
    code = "unsupported_file_type"
    title = "Unsupported file type"


class InvalidField(RequestError):
    """A form field is unknown, repeated or malformed."""

    http_status = 422
    code = "invalid_field"
    title = "Invalid field"


class Overloaded(RequestError):
    """As many requests are in flight as this replica admits."""

    http_status = 503
    code = "overloaded"
    title = "Overloaded"


class ReplicaLost(RequestError):
    """The replicas that worked on this request died, and so did the retries."""

    http_status = 503
    code = "replica_lost"
    title = "Replica lost"


class DeadlineExceeded(RequestError):
    """The request did not finish within its deadline; its work was cancelled."""

    http_status = 504
    code = "deadline_exceeded"
    title = "Deadline exceeded"


class FrameError(ServiceError):
    """One frame could not be scored; the other frames of the request are not touched."""

    status: ClassVar[FrameStatus] = "extraction_failed"


class NoFace(FrameError):
    """The extractor looked and found no face."""

    status = "no_face"


class LowQuality(FrameError):
    """A face was found, but too uncertainly to be scored."""

    status = "low_quality"


class Undecodable(FrameError):
    """The bytes are not a picture this service reads."""

    status = "undecodable"


class ExtractionFailed(FrameError):
    """The extractor broke on this frame."""

    status = "extraction_failed"


class FrameTimeout(FrameError):
    """The extractor did not finish this frame in time."""

    status = "timeout"


class TableError(FrameError):
    """A CSV is not what OpenFace writes for one frame; ``column`` names the first column at fault, if one is."""

    status = "extraction_failed"

    def __init__(self, message: str, *, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column


class SetupError(ServiceError):
    """The installation cannot do what was asked; the message says which command mends it."""


class WeightsMissing(SetupError):
    """The face-mesh networks are not in the cache, or are not the files they should be."""


class OpenFaceUnusable(SetupError):
    """The FeatureExtraction binary is absent, or does not answer as OpenFace does."""


class ArtifactInvalid(SetupError):
    """A detector's folder does not hold what its manifest says."""


class RowsUnusable(SetupError):
    """Rows of features or scores lack what it takes to measure, calibrate or train with them."""


class DatasetInvalid(SetupError):
    """A folder of labelled CSVs does not hold what its labels file says; the message names file, line and column."""


class CheckpointUnusable(SetupError):
    """What an interrupted training left is absent, broken, or of another training."""


class ExtraMissing(SetupError):
    """A library of one of the package's extras is not installed."""


class DeviceUnavailable(SetupError):
    """A compute device was demanded and is absent."""
