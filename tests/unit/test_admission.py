"""Admission by requests and by bytes."""

import pytest

from serve_app.admission import Admission
from serve_app.errors import Overloaded


@pytest.fixture
def admission() -> Admission:
    return Admission(max_requests=2, max_bytes=100, retry_after_s=5)


def test_one_request_too_many_is_refused_at_once(admission: Admission) -> None:
    """It is told when to come back; the places are free again afterwards."""
    with admission.admit(1), admission.admit(1):
        with pytest.raises(Overloaded, match="2 requests") as caught, admission.admit(1):
            pass
        assert caught.value.retry_after_s == 5
    with admission.admit(1):
        pass


def test_bytes_are_counted_together(admission: Admission) -> None:
    """Two large bodies do not fit where two small ones do."""
    with admission.admit(60), pytest.raises(Overloaded), admission.admit(60):
        pass


def test_a_lone_large_request_is_let_in(admission: Admission) -> None:
    """Its size has a limit of its own; here it would never be served."""
    with admission.admit(1000):
        pass


def test_a_request_that_fails_gives_its_place_back(admission: Admission) -> None:
    """Nothing leaks through an exception."""
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), admission.admit(90):
            raise ZeroDivisionError


def test_a_body_of_unknown_size_counts_as_what_has_come(admission: Admission) -> None:
    """It needs no more room than it takes, and is refused once there is none."""
    with admission.admit(60):
        with admission.admit(0) as place:
            place.grow_to(30)
            place.grow_to(40)
            with pytest.raises(Overloaded, match="2 requests"):
                place.grow_to(41)
        with admission.admit(40):
            pass
    with admission.admit(100):
        pass


def test_a_body_counts_once(admission: Admission) -> None:
    """As what it declared, however its parts come in."""
    with admission.admit(50) as place, admission.admit(50):
        place.grow_to(20)
        place.grow_to(50)
