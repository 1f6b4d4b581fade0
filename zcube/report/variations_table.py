"""A comparison's variations as tables of text, which terminal and page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zcube.report.names import display_names, printable
from zcube.verdict.headline import unmeasured_sentence
from zcube.verdict.rows import ABSENT, NO_DIFFERENCE, signed, significant

#: Marks a setting whose runs have no steady window.
UNSTEADY = "*"

SWEEP_NOTE = (
    "Output: tokens/s; TTFT: seconds; %: of the fabric's highest. In brackets: Student's 95 % intervals of paired differences "
    "over the seeds."
)
SENSITIVITY_NOTE = (
    "Each line changes one parameter of the scenario and keeps the rest. Changes are against the baseline at the same setting, "
    "in brackets Student's 95 % intervals over the seeds; what these do not tell from 0 is no difference."
)
UNSTEADY_NOTE = f"{UNSTEADY} no steady window, so that rates would not last."


def sweep_cells(sweep: Mapping[str, Any]) -> list[list[str]]:
    """Return a sweep's figures, heads first: a row per value and fabric."""
    fabrics = swept_fabrics(sweep)
    names = display_names(list(fabrics))
    cells = [
        [
            printable(sweep["runs"][0]["parameter"]),
            "Fabric",
            "Output",
            "%",
            "TTFT mean",
            "%",
            "TTFT P99",
            "Output change",
            "TTFT P99 change",
        ]
    ]
    highest = {
        (name, figure): max(run["fabrics"].get(name, {}).get(figure) or 0.0 for run in sweep["runs"])
        for name in names
        for figure in ("output", "ttft_mean")
    }
    for run in sweep["runs"]:
        for name, fabric in run["fabrics"].items():
            parts = [
                text
                for figure in ("output", "ttft_mean")
                for text in (_value(fabric[figure]), _percent(fabric[figure], highest[name, figure]))
            ]
            mark = UNSTEADY if fabric["caution"] else ""
            changes = [change_text(_against(fabric, figure)) for figure in ("output", "ttft_p99")]
            cells.append(
                [
                    printable(run["setting"]) + mark,
                    names[name],
                    *parts,
                    _value(fabric["ttft_p99"]),
                    *changes,
                ]
            )
    return cells


def swept_fabrics(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """Return every fabric of a sweep by name, as the first value has it that compares it."""
    found: dict[str, Any] = {}
    for run in sweep["runs"]:
        for name, fabric in run["fabrics"].items():
            found.setdefault(name, fabric)
    return found


def sensitivity_cells(sensitivity: Mapping[str, Any]) -> list[list[str]]:
    """Return the figures at every setting, heads first, the scenario's own above the others: a row per fabric compared."""
    cells = [["Parameter", "Setting", "Fabric", "Output tok/s", "TTFT P99 s", "Output change", "TTFT P99 change"]]
    own = {
        "parameter": "scenario",
        "setting": "as it is",
        "fabrics": sensitivity["scenario"],
        "baseline": sensitivity["baseline"],
    }
    for run in (own, *sensitivity["runs"]):
        base, names = run["fabrics"][run["baseline"]], display_names(list(run["fabrics"]))
        for name, fabric in run["fabrics"].items():
            if fabric["against"] is None and len(run["fabrics"]) > 1:
                continue
            mark = UNSTEADY if fabric["caution"] or base["caution"] else ""
            both = [f"{_value(base[figure])} > {_value(fabric[figure])}" for figure in ("output", "ttft_p99")]
            changes = [change_text(_against(fabric, figure)) for figure in ("output", "ttft_p99")]
            cells.append([printable(run["parameter"]), printable(run["setting"]) + mark, names[name], *both, *changes])
    return cells


def notes(cells: Sequence[Sequence[str]], note: str, varied: Mapping[str, Any]) -> list[str]:
    """Return what is to be said below a table of variations."""
    said = [note, *([UNSTEADY_NOTE] if any(UNSTEADY in cell for row in cells for cell in row) else [])]
    said += [
        f"{printable(run['parameter'])} {printable(run['setting'])}: {unmeasured_sentence(run['unmeasured'])}"
        for run in varied["runs"]
        if run.get("unmeasured")
    ]
    others = [run for run in varied["runs"] if not run["is_scenario"]]
    still = [f"{printable(run['parameter'])} {printable(run['setting'])}" for run in others if not run["moves"]]
    if still:
        said.append(f"Moves no figure above, to the last digit: {'; '.join(still)}.")
    return said


def change_text(against: Mapping[str, Any] | None) -> str:
    """Return a change with its interval; that there is none, where the seeds do not tell it from 0."""
    if against is None:
        return ABSENT
    change, ends = f"{signed(100 * against['change'], 1)} %", against["interval"]
    if ends is None:
        return change
    between = f"({signed(100 * ends[0], 1)} to {signed(100 * ends[1], 1)})"
    return f"{NO_DIFFERENCE if against['differs'] is False else change} {between}"


def _against(fabric: Mapping[str, Any], figure: str) -> Mapping[str, Any] | None:
    against: Mapping[str, Any] | None = None if fabric["against"] is None else fabric["against"][figure]
    return against


def _value(value: float | None) -> str:
    return ABSENT if value is None else significant(value)


def _percent(value: float | None, highest: float | None) -> str:
    return ABSENT if value is None or not highest else f"{100 * value / highest:.1f}"
