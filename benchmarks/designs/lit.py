"""LitServe: one worker process a core, each of which scores whole requests.

python -m benchmarks.designs.lit PORT
"""

import os
import sys
from typing import Any

import litserve
from fastapi import Request, Response

from benchmarks.designs.scorer import Scorer, answer


class Deepfake(litserve.LitAPI):  # type: ignore[misc]  # untyped
    """Scores frames; batches across requests buy nothing where a request is a batch already."""

    def setup(self, device: str) -> None:
        """Load everything, in the worker."""
        self._scorer = Scorer()

    def decode_request(self, request: Request, **_: Any) -> list[bytes]:
        """Read the form's files."""
        files = request.getlist("files")  # type: ignore[attr-defined]  # LitServe hands over the form
        return [file.file.read() for file in files]

    def predict(self, images: list[bytes], **_: Any) -> list[float | None]:
        """Score the frames."""
        return self._scorer.score(images)

    def encode_response(self, scores: list[float | None], **_: Any) -> Response:
        """Answer with JSON."""
        return Response(answer(scores).model_dump_json(), media_type="application/json")


if __name__ == "__main__":
    api = Deepfake(api_path="/batch/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=len(os.sched_getaffinity(0)), timeout=200)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
