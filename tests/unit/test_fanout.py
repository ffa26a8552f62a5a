"""How a request's frames are cut into calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.fanout import FanOut
from serve_app.settings import PipelineSettings

FACE_MESH_S, OPENFACE_S, SLOW_S = 0.005, 0.07, 1.0


def fan_out(frame_s: float, **settings: float) -> FanOut:
    """One that has learnt what a frame costs."""
    learnt = FanOut(PipelineSettings.model_validate(settings))
    for _ in range(50):
        learnt.learn(frame_s)
    return learnt


def sizes(frame_s: float, n_frames: int, replicas: float) -> list[int]:
    return [len(range(n_frames)[call]) for call in fan_out(frame_s).cut(n_frames, replicas)]


@pytest.mark.parametrize(
    ("frame_s", "replicas", "calls"),
    [
        (FACE_MESH_S, 2, [15, 15]),
        (FACE_MESH_S, 0.5, [30]),
        (FACE_MESH_S, 64, [4, 4, 4, 4, 4, 4, 3, 3]),
        (OPENFACE_S, 2, [15, 15]),
        (2 * OPENFACE_S, 2, [8, 6, 4, 3, 3, 3, 3]),
        (OPENFACE_S, 8, [4, 4, 4, 4, 4, 4, 3, 3]),
        (OPENFACE_S, 30, [1] * 30),
        (SLOW_S, 30, [1] * 30),
        (SLOW_S, 64, [1] * 30),
        (SLOW_S, 8, [4, 4, 4, 4, 4, 4, 3, 3]),
        (SLOW_S, 4, [4, 4, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_a_request_is_cut_by_cost_and_replicas(frame_s: float, replicas: float, calls: list[int]) -> None:
    """Cheap frames in few calls, dear ones in many, which get smaller where a replica has several."""
    assert sizes(frame_s, 30, replicas) == calls


@given(st.integers(0, 30), st.floats(0, 100), st.floats(0, 60))
def test_every_frame_is_in_one_call(n_frames: int, replicas: float, frame_s: float) -> None:
    """None lost or doubled, no call empty or over the limit."""
    calls = [range(30)[call] for call in fan_out(frame_s, max_frames_per_call=7).cut(n_frames, replicas)]
    assert sorted(frame for call in calls for frame in call) == list(range(n_frames))
    assert all(0 < len(call) <= 7 for call in calls)


def test_equal_calls_are_dealt_the_frames_in_turn() -> None:
    """Neighbouring frames cost alike: halves of a video may differ by a tenth, every other frame does not."""
    assert [list(range(4)[call]) for call in fan_out(0.02).cut(4, 2)] == [[0, 2], [1, 3]]


def test_one_measurement_does_not_overturn_the_others() -> None:
    """A frame that hung for 30 s leaves a trace, and no more than that a while later."""
    learnt = fan_out(FACE_MESH_S)
    learnt.learn(30.0)
    for _ in range(30):
        learnt.learn(FACE_MESH_S)
    assert learnt.cut(30, 2) == fan_out(FACE_MESH_S).cut(30, 2)
