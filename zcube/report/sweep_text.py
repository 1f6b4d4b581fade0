"""A sweep as text: its points on each fabric with means and intervals, how far each key moves them, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.variations_table import change_text
from zcube.serving.repeats import too_few
from zcube.verdict.headline import unmeasured_sentence
from zcube.verdict.rows import ABSENT, significant

if TYPE_CHECKING:
    from zcube.sweep.runs import Run

#: Rows that the terminal is given; the rest stands in the table.
MOST_ROWS = 200
#: Places that a cause is told of.
MOST_PLACES = 8
HEADS = {"output": "Output tokens/s", "ttft_p99": "TTFT P99 (s)"}


def sweep_cells(document: Mapping[str, Any]) -> list[list[str]]:
    """Return the points of a sweep, heads first: a row per scenario, point and fabric; keys that never change are left out."""
    points = document["points"]
    keys, several = varied_keys(points), len({one["scenario"] for one in points}) > 1
    cells = [["Point", *(["Scenario"] if several else []), *map(printable, keys), "Fabric", *HEADS.values(), "Failed"]]
    for one in points:
        scenario = [printable(one["scenario"])] if several else []
        overrides = [printable(value_text(one["overrides"].get(key))) for key in keys]
        figures = [mean_text(one[name]) for name in HEADS]
        failed = f"{one['failed']} of {one['seeds']}" if one["failed"] else "-"
        cells.append([str(one["point"]), *scenario, *overrides, printable(one["fabric"]), *figures, failed])
    return cells


def caution_lines(document: Mapping[str, Any]) -> list[str]:
    """Return cautions: too few seeds, and with the points that it is said of unmeasured times, no steady window."""
    places: dict[str, list[str]] = {}
    points = document["points"]
    for one in points:
        place = f"point {one['point']}, {printable(one['scenario'])}, {printable(one['fabric'])}"
        if one["unmeasured"] is not None:
            places.setdefault(unmeasured_sentence(printable(one["unmeasured"])).removesuffix("."), []).append(place)
        if (held := one["no_rate"]) is not None:
            cause = f"No output without a steady window ({printable(held['cause'])})"
            places.setdefault(cause, []).append(f"{place} ({held['runs']} of {one['seeds']} seeds)")
    few = [said] if (said := too_few(_seeds(document))) else []
    return [*few, *(f"{said}: {_listed(of, len(points))}" for said, of in places.items())]


def _listed(places: Sequence[str], points: int) -> str:
    """Return the points of a caution, the first ones if they are many, and none where it is said of all."""
    if len(places) == points and not places[0].endswith("seeds)"):
        return "every point"
    return "; ".join(places[:MOST_PLACES]) + (f" and {len(places) - MOST_PLACES:,} more" if len(places) > MOST_PLACES else "")


def effect_cells(effects: Mapping[str, Any]) -> list[list[str]]:
    """Return how far each setting of a key moves what a fabric changes, heads first."""
    name = effects["fabric"]
    cells = [["Key", "Setting", "Output change", "TTFT P99 change"]]
    every = {"parameter": "all points", "setting": "", "fabrics": effects["scenario"]}
    for one in (every, *effects["runs"]):
        against = one["fabrics"][name]["against"]
        setting = one["setting"] and printable(one["setting"])
        cells.append([printable(one["parameter"]), setting, *(change_text(against[key]) for key in HEADS)])
    return cells


def varied_keys(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys that have several values among some points."""
    keys = dict.fromkeys(key for one in points for key in one["overrides"])
    return [key for key in keys if len({value_text(one["overrides"].get(key)) for one in points}) > 1]


def value_text(value: Any) -> str:
    """Return a value of an override as readers see it."""
    if value is None:
        return ABSENT
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def mean_text(said: Mapping[str, Any]) -> str:
    """Return a mean, with half of its interval behind it."""
    if said["mean"] is None:
        return ABSENT
    low, high = said["interval"] or (0.0, 0.0)
    return significant(said["mean"]) + ("" if low == high else f" ±{significant((high - low) / 2, 2)}")


def conditions_of(document: Mapping[str, Any]) -> str:
    """Return in one line what a sweep is over."""
    points = document["points"]
    counts = [len({one[key] for one in points}) for key in ("scenario", "point", "fabric")]
    words = [f"{count} {word}{'s' * (count != 1)}" for count, word in zip(counts, ("scenario", "point", "fabric"), strict=True)]
    seeds = _seeds(document)
    return ", ".join([*words, f"{seeds} seed{'s' * (seeds != 1)}", f"{document['runs']:,} runs"])


def _seeds(document: Mapping[str, Any]) -> int:
    return max((one["seeds"] for one in document["points"]), default=0)


def sweep_text(document: Mapping[str, Any]) -> str:
    """Return a sweep for the terminal."""
    cells = sweep_cells(document)
    lines = [f"{conditions_of(document)}; behind ± half of the mean's 95 % interval over the seeds", ""]
    lines += aligned(cells[: MOST_ROWS + 1], len(cells[0]) - len(HEADS) - 1)
    if len(cells) > MOST_ROWS + 1:
        lines.append(f"and {len(cells) - MOST_ROWS - 1:,} more rows, which stand in the table")
    lines += caution_lines(document)[: MOST_ROWS + 1]
    effects = document["effects"]
    if effects is not None:
        lines += ["", f"{printable(effects['fabric'])} against {printable(effects['baseline'])}", ""]
        lines += [*aligned(effect_cells(effects), 2), "", effects["rule"]]
    return "\n".join(lines) + "\n"


def plan_document(runs: Sequence[Run], waiting: Sequence[Run], least_s: float, at_once: int) -> dict[str, Any]:
    """Return what a sweep would do, JSON-ready.

    Parameters
    ----------
    runs, waiting : sequence of Run
        All of them, and those that are to be done.
    least_s : float
        About how long these take at least.
    at_once : int
        How many are done at a time.
    """
    left = {run.key for run in waiting}
    places: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        places.setdefault(run.place, []).append(run)
    return {
        "runs": len(runs),
        "to_run": len(waiting),
        "refused": sum(run.key is None for run in runs),
        "at_once": at_once,
        "least_s": round(least_s, 1),
        "points": [
            {
                "scenario": scenario,
                "point": point,
                "overrides": dict(held[0].case.point.overrides),
                "fabrics": list(dict.fromkeys(run.fabric for run in held)),
                "seeds": len({run.seed for run in held}),
                "to_run": sum(run.key in left for run in held),
                "errors": list(dict.fromkeys(run.error for run in held if run.error is not None)),
            }
            for (scenario, point), held in places.items()
        ],
    }


def plan_text(document: Mapping[str, Any]) -> str:
    """Return what a sweep would do, for the terminal."""
    points = document["points"]
    keys = list(dict.fromkeys(key for one in points for key in one["overrides"]))
    cells = [["Point", "Scenario", *map(printable, keys), "Fabrics", "Seeds", "To run"]]
    for one in points:
        overrides = [printable(value_text(one["overrides"].get(key))) for key in keys]
        fabrics = printable(", ".join(one["fabrics"]))
        cells.append(
            [str(one["point"]), printable(one["scenario"]), *overrides, fabrics, str(one["seeds"]), str(one["to_run"])]
        )
    lines = aligned(cells[: MOST_ROWS + 1], len(cells[0]) - 2)
    if len(cells) > MOST_ROWS + 1:
        lines.append(f"and {len(cells) - MOST_ROWS - 1:,} more points; --json has all of them")
    lines += ["", *(f"point {one['point']}, {one['scenario']}: {error}" for one in points for error in one["errors"])]
    known = document["runs"] - document["to_run"] - document["refused"]
    lines.append(
        f"{len(points):,} points, {document['runs']:,} runs: {document['to_run']:,} to run, {document['refused']:,} refused, "
        f"{known:,} known or equal to another; at least about {_span(document['least_s'])}, {document['at_once']} at a time"
    )
    return "\n".join(lines) + "\n"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
