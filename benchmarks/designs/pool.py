"""FastAPI over a pool of processes, one a core; a request's frames are split among them.

python -m benchmarks.designs.pool PORT
"""

import asyncio
import math
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.designs.scorer import Answer, Scorer, answer

N_WORKERS = len(os.sched_getaffinity(0))

_scorer: Scorer | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have the pool while the application runs."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(N_WORKERS, mp_context=spawn, initializer=_load) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that this process answers."""
    return {"status": "healthy"}


@app.post("/batch/predict")
async def predict(files: list[UploadFile]) -> Answer:
    """Score the frames, an even share in each process."""
    images = [await file.read() for file in files]
    share = math.ceil(len(images) / N_WORKERS)
    loop = asyncio.get_running_loop()
    shares = [images[start : start + share] for start in range(0, len(images), share)]
    scores = await asyncio.gather(*(loop.run_in_executor(app.state.pool, _score, images) for images in shares))
    return answer([score for part in scores for score in part])


def _load() -> None:
    global _scorer  # noqa: PLW0603 - a pool's worker has no other place to keep it
    _scorer = Scorer()


def _score(images: Sequence[bytes]) -> list[float | None]:
    if _scorer is None:
        raise RuntimeError("the worker was started without its initializer")
    return _scorer.score(images)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
