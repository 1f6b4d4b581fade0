"""What the options on requests change in a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zcube.errors import Fault, InputError

#: The word that stands for a trace's own times where a rate could be named.
OWN_TIMES = "trace"


def request_changes(
    requests: str | None,
    rate: str | None,
    sessions: str | None,
    block_tokens: int | None,
    time_unit: str | None,
    columns: str | None,
    assignments: Sequence[str],
) -> dict[str, Any]:
    """Return changes of a scenario by dotted key.

    Raises
    ------
    InputError
        With every option that cannot be carried out, or that contradicts an assignment.
    """
    from zcube.inputs import assigned

    told = {"sessions": sessions, "block_tokens": block_tokens, "time_unit": time_unit}
    changes: dict[str, Any] = {f"requests.{key}": value for key, value in told.items() if value is not None}
    faults: list[Fault] = []
    if requests is not None:
        # What a scenario says of its own file does not hold for another.
        changes = {**{f"requests.{key}": None for key in ("count", *told, "columns")}, **changes}
        changes["requests.source"] = requests
    if columns is not None:
        pairs = [part.partition("=") for part in columns.split(",")]
        if not all(equals and name for _, equals, name in pairs):
            faults.append(Fault("--columns", repr(columns)[:80], "ROLE=NAME, separated by commas, for arrival, input, output"))
        changes["requests.columns"] = {role.strip(): name.strip() for role, _, name in pairs}
    given = assigned(assignments)
    if requests is not None:
        # An assignment on the same line says how much of the file is wanted, or how to read it.
        changes = {key: value for key, value in changes.items() if value is not None or key not in given}
    if rate is not None:
        if "load.rate_per_s" in given:
            faults.append(Fault("--rate", repr(rate)[:40], "one rate, not --set load.rate_per_s as well"))
        try:
            changes["load.rate_per_s"] = None if rate == OWN_TIMES else float(rate)
        except ValueError:
            faults.append(Fault("--rate", repr(rate)[:40], f"requests per second, or {OWN_TIMES}"))
    if faults:
        raise InputError(faults)
    return changes
