"""What a request trace does not say of itself, and its reader has to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from zcube.errors import Fault, InputError

#: Roles of the columns of a CSV file that is none of the known ones.
ROLES = ("arrival", "input", "output")
#: Largest block of prompt tokens that one id may stand for.
MAX_BLOCK_TOKENS = 65_536

_SPELLED = {"sessions": "--sessions", "block_tokens": "--block-tokens", "time_unit": "--time-unit", "columns": "--columns"}


@dataclass(frozen=True)
class ReadOptions:
    """How a file is to be understood. Options that a format has no use for are refused.

    Attributes
    ----------
    sessions : {"whole", "delta"}, optional
        What ``input_length`` means on rows with a ``session_id``. ``"whole"``: the prompt as sent, as in NVIDIA Dynamo's
        ``mooncake``. ``"delta"``: the turn's new tokens, the prompt being the session's history and them, as in NVIDIA
        aiperf and in Dynamo's ``mooncake-delta``.
    block_tokens : int, optional
        Prompt tokens that one block id stands for, 1 to 65,536, where that is not the format's own.
    time_unit : {"s", "ms"}, optional
        Unit of numeric arrival times, in place of the format's own; states that they are meant so.
    columns : mapping, optional
        Name of the column by role, ``arrival``, ``input`` and ``output``, of a CSV file of any other make.
    """

    sessions: Literal["whole", "delta"] | None = None
    block_tokens: int | None = None
    time_unit: Literal["s", "ms"] | None = None
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        faults = []
        if self.sessions not in (None, "whole", "delta"):
            faults.append(Fault("--sessions", repr(self.sessions)[:60], "whole or delta"))
        if self.time_unit not in (None, "s", "ms"):
            faults.append(Fault("--time-unit", repr(self.time_unit)[:60], "s or ms"))
        if self.block_tokens is not None and not 1 <= self.block_tokens <= MAX_BLOCK_TOKENS:
            faults.append(Fault("--block-tokens", str(self.block_tokens), f"1 to {MAX_BLOCK_TOKENS} tokens"))
        if self.columns is not None and set(self.columns) != set(ROLES):
            found = ", ".join(map(str, self.columns)) or "nothing"
            faults.append(Fault("--columns", found[:60], "ROLE=COLUMN for each of " + ", ".join(ROLES)))
        if faults:
            raise InputError(faults)

    def refuse_all_but(self, path: Path, what: str, *useful: str) -> None:
        """Refuse options that mean nothing to a format.

        Raises
        ------
        InputError
            With every option that is set and not among the useful ones.
        """
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        faults = [
            Fault(str(path), f"{_SPELLED[name]} with {what}", "no such option here") for name in given if name not in useful
        ]
        if faults:
            raise InputError(faults)
