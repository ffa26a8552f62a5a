"""The error tree."""

import pickle

import pytest

from serve_app import errors


def subclasses(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(error for child in root.__subclasses__() for error in subclasses(child))]


@pytest.mark.parametrize("error_class", subclasses(errors.ServiceError), ids=lambda cls: cls.__name__)
def test_every_error_survives_a_trip_between_processes(error_class: type[Exception]) -> None:
    """Message and attributes arrive; Ray would otherwise hide the class."""
    error = error_class("what happened")
    vars(error).update(column="x_1", retry_after_s=3)
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(arrived), str(arrived), vars(arrived)) == (error_class, "what happened", vars(error))


@pytest.mark.parametrize("error_class", subclasses(errors.RequestError), ids=lambda cls: cls.__name__)
def test_every_error_is_drawn_in_the_tree(error_class: type[Exception]) -> None:
    """The docstring is the map of the module."""
    assert error_class.__name__ in (errors.__doc__ or "")
