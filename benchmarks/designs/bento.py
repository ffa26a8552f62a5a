"""BentoML: a service of one worker a core, each of which scores whole requests.

bentoml serve benchmarks.designs.bento:Deepfake
"""

import asyncio
import os
from pathlib import Path

import bentoml

from benchmarks.designs.scorer import Answer, Scorer, answer


@bentoml.service(workers=len(os.sched_getaffinity(0)), traffic={"timeout": 200}, logging={"access": {"enabled": False}})
class Deepfake:
    """Scores frames; a request's frames are not split among workers, which would cost a copy of each."""

    def __init__(self) -> None:
        self._scorer = Scorer()
        self._turn = asyncio.Semaphore(1)

    @bentoml.api(route="/batch/predict")  # type: ignore[untyped-decorator]
    async def predict(self, files: list[Path]) -> Answer:
        """Score the frames, one request at a time: the extractor is not thread-safe."""
        async with self._turn:
            return answer(await asyncio.to_thread(self._scorer.score, [file.read_bytes() for file in files]))
