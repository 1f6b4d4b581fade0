"""How long and how widely is searched."""

from __future__ import annotations

from pydantic import Field, model_validator

from zcube.inputs import Declared

#: Fabrics drawn at most in one search, and the largest cluster: graphs are told apart one by one.
MOST_FABRICS, MOST_GPUS = 1_000_000, 4096


class SearchSettings(Declared):
    """How long and how widely is searched.

    Attributes
    ----------
    population : int
        Genomes that live at a time.
    generations : int
        Times that as many are bred from them.
    """

    population: int = Field(default=64, ge=4, le=4096)
    generations: int = Field(default=40, ge=1, le=100_000)

    @model_validator(mode="after")
    def _bounded(self) -> SearchSettings:
        drawn = self.population * (self.generations + 1)
        if drawn > MOST_FABRICS:
            raise ValueError(f"population x (generations + 1) of at most {MOST_FABRICS} fabrics, not {drawn}")
        return self
