"""How a client names a model: ``NAME``, the newest version for the extractor that runs; or ``NAME@VERSION``."""

import re
from dataclasses import dataclass

_EXACT = re.compile(r"([^@]+)@([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class ModelReference:
    """A model's name, and its version unless the newest is meant."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        """Write it as a client does."""
        return self.name if self.version is None else f"{self.name}@{self.version}"

    def means(self, name: str, version: int) -> bool:
        """Whether that version of that model is one of those meant."""
        return name == self.name and self.version in (None, version)


def parse_model_name(text: str) -> ModelReference:
    """Read a reference; a text that is none is the name of a model that does not exist."""
    exact = _EXACT.fullmatch(text)
    return ModelReference(exact[1], int(exact[2])) if exact else ModelReference(text)
