"""How a client names a model."""

import pytest

from serve_app.model_names import ModelReference, parse_model_name


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("net", ModelReference("net")),
        ("net@3", ModelReference("net", 3)),
        ("net@03", ModelReference("net@03")),
        ("net@", ModelReference("net@")),
        ("@3", ModelReference("@3")),
        ("net@3@4", ModelReference("net@3@4")),
        ("net@3\n", ModelReference("net@3\n")),
    ],
)
def test_a_reference_is_a_name_and_perhaps_a_version(text: str, reference: ModelReference) -> None:
    """What is neither is the name of no model; each is written as it was read."""
    assert parse_model_name(text) == reference
    assert str(reference) == text


def test_a_name_alone_means_every_version() -> None:
    """And an exact one itself only."""
    assert [ModelReference("net").means("net", version) for version in (1, 2)] == [True, True]
    assert [ModelReference("net", 2).means("net", version) for version in (1, 2)] == [False, True]
    assert not ModelReference("net").means("other", 1)
