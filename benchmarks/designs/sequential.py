"""The project's first sketch, written out: one process, one request at a time, a program started for each frame.

python -m benchmarks.designs.sequential PORT facemesh|openface
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.designs.scorer import Answer, Detection, answer
from serve_app.extractors.openface.command import command_line, environment, find_binary
from serve_app.settings import Backend, OpenFaceSettings

TIMEOUT_S = 180
EXTRACT_ONE = """
import sys
from pathlib import Path
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.settings import ExtractorSettings
frame = Path(sys.argv[1])
frame.with_suffix(".csv").write_bytes(FaceMeshExtractor(ExtractorSettings()).extract(frame.read_bytes()).csv)
"""


def create_app(backend: Backend) -> FastAPI:
    """Build the application: the endpoint blocks, as the sketch's does."""
    app = FastAPI()
    detection = Detection(backend)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.post("/batch/predict")
    async def predict(files: list[UploadFile]) -> Answer:
        scores: list[float | None] = []
        with tempfile.TemporaryDirectory(prefix="sequential-") as folder:
            for index, file in enumerate(files):
                frame = Path(folder) / f"frame_{index:04d}.jpg"
                frame.write_bytes(await file.read())
                scores += detection.score([_extract(frame, backend)])
        return answer(scores)

    return app


def _extract(frame: Path, backend: Backend) -> bytes:
    """Start a program, wait for it, read its CSV."""
    if backend == "facemesh":
        command, variables = [sys.executable, "-c", EXTRACT_ONE, str(frame)], None
    else:
        settings = OpenFaceSettings()
        command = command_line(find_binary(settings), settings, [frame.name])
        variables = environment(frame.parent, fifos=False)
    subprocess.run(command, cwd=frame.parent, env=variables, timeout=TIMEOUT_S, check=True, capture_output=True)  # noqa: S603
    return frame.with_suffix(".csv").read_bytes()


if __name__ == "__main__":
    uvicorn.run(
        create_app("openface" if sys.argv[2] == "openface" else "facemesh"),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
    )
