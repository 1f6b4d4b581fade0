"""Where requests come from: the ``[requests]`` table of a scenario."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from zcube.inputs import Declared
from zcube.workload.agent_parameters import CodingAgent
from zcube.workload.readers.options import MAX_BLOCK_TOKENS, ReadOptions

#: The name that stands for the built-in generator where a trace file could be named.
GENERATOR = "coding-agent"


class TableColumns(Declared):
    """Columns of a CSV file that is neither Azure's nor BurstGPT's, by what they hold."""

    arrival: str = Field(min_length=1, max_length=200, description="time: seconds, or the unit of time_unit")
    input: str = Field(min_length=1, max_length=200, description="tokens of the prompt")
    output: str = Field(min_length=1, max_length=200, description="tokens of the answer")


class Requests(Declared):
    """Where requests come from: the built-in coding-agent generator, or a trace file.

    What follows ``count`` says of a file what it does not say of itself; docs/requests.md has the formats.
    """

    source: str = Field(default=GENERATOR, min_length=1, max_length=4096, description="coding-agent, or a trace file")
    count: int | None = Field(default=None, ge=1, le=10_000_000, description="first requests taken; default: a trace's all")
    sessions: Literal["whole", "delta"] | None = Field(
        default=None, description="input_length of rows with a session_id: the whole prompt, or the turn's new tokens"
    )
    block_tokens: int | None = Field(
        default=None, ge=1, le=MAX_BLOCK_TOKENS, description="tokens per block id; default: the format's own"
    )
    time_unit: Literal["s", "ms"] | None = Field(default=None, description="of numeric times; default: the format's own")
    columns: TableColumns | None = Field(default=None, description="columns of any other CSV file")
    coding_agent: CodingAgent = CodingAgent()

    @model_validator(mode="after")
    def _consistent(self) -> Requests:
        if self.source == GENERATOR:
            if self.count is None:
                raise ValueError("count, because the generator has no end")
            told = [name for name in ("sessions", "block_tokens", "time_unit", "columns") if getattr(self, name) is not None]
            if told:
                raise ValueError(f"a trace file as source, of which {', '.join(told)} could be said")
        return self

    @property
    def read_options(self) -> ReadOptions:
        """How the file is to be understood."""
        columns = None if self.columns is None else self.columns.model_dump()
        return ReadOptions(self.sessions, self.block_tokens, self.time_unit, columns)
