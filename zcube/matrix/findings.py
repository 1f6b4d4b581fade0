"""What a matrix's figures say: which differences leave the noise, who is ahead, and whether transport does what cables do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zcube.serving.repeats import LEAST_SEEDS, ROUNDING, seed_noise, student_interval, too_few

#: What is less is no difference, however steady it is: a hop's delay in a long transfer, say.
LEAST_CHANGE = 0.001

RULE = (
    "Differences are paired seed by seed: both cells carry the same transfers, or the same requests, under a seed. A change is "
    "that of the geometric mean of the ratios over the seeds, its interval Student's at 95 % of their logarithms' mean, of "
    "figures that can be 0 of their plain differences. It is outside the noise if that leaves out no change and the change is "
    f"{LEAST_CHANGE:.1%} at least; with fewer than {LEAST_SEEDS} seeds nothing is. Each is judged by itself: of twenty between "
    "equal cells one is outside by chance."
)

#: Family of fabrics whose losses are told of.
WATCHED = "zcube"
#: A millionfold.
MOST_LOGARITHM = 14.0


def leading_figure(carried: bool) -> dict[str, Any]:
    """Return what cells are ranked by: key, words, unit; less is better."""
    if carried:
        return {"key": "over_ideal.p99", "label": "P99 of transfer times over the ideal core's", "unit": ""}
    return {"key": "ttft_s.p99", "label": "P99 time to first token", "unit": "s"}


def differences(mine: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    """Return how a cell's figures differ from another's, by key; None where the other has none or there is one seed.

    Returns
    -------
    dict
        Of each figure ``relative``, ``relative_interval``, both null where it can be 0, ``difference`` of the means, and
        ``differs``, null for fewer than :data:`~zcube.serving.repeats.LEAST_SEEDS` seeds.
    """
    if other is None or len(mine) < 2:
        return None
    found = {}
    for key, noise in seed_noise(mine, other).items():
        values = np.array(noise["values"])
        theirs = np.array([value_of(one, key) for one in other], dtype=float)
        change = {"relative": None, "relative_interval": None, "difference": noise["difference"], "differs": noise["differs"]}
        if np.all(values > 0) and np.all(theirs > 0):
            ratio = np.log(values / theirs)
            ratio[np.abs(ratio) <= ROUNDING] = 0.0
            low, high = student_interval(ratio)
            change |= {"relative": float(np.expm1(ratio.mean())), "relative_interval": [_gain(low), _gain(high)]}
            outside = (low > 0 or high < 0) and abs(change["relative"]) >= LEAST_CHANGE
            change["differs"] = outside if len(values) >= LEAST_SEEDS else None
        found[key] = change
    return found


def _gain(logarithm: float) -> float:
    """Return a change of a logarithm as a fraction, bounded where two seeds leave all open."""
    return float(np.expm1(min(logarithm, MOST_LOGARITHM)))


def words(document: Mapping[str, Any]) -> list[str]:
    """Return what the figures say, in sentences."""
    figure, seeds, said = document["figure"], document["seeds"], []
    values = {
        (row, column): value_of(cell["figures"], figure["key"])
        for row, cells in document["cells"].items()
        for column, cell in cells.items()
        if cell["figures"] is not None
    }
    known = {place: value for place, value in values.items() if value is not None}
    if not known:
        return ["No cell has figures."]
    best = min(known, key=known.__getitem__)
    said.append(f"Lowest {figure['label']}: {best[0]} with {best[1]}, {known[best]:.3g}{_unit(figure)}.")
    if few := too_few(seeds):
        said.append(few)
    else:
        said += [*_cables_or_transport(document, known), *_by_transport(document, known)]
    return [*said, *_queue_pairs(document), *_narrow_spreads(document), *_left_open(document)]


def value_of(figures: Mapping[str, Any] | None, key: str) -> Any:
    """Return a figure by its keys joined by points; None where it is not known."""
    value: Any = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None


def _unit(figure: Mapping[str, Any]) -> str:
    return f" {figure['unit']}" if figure["unit"] else ""


def _queue_pairs(document: Mapping[str, Any]) -> Iterator[str]:
    """Say where transfers have other numbers of queue pairs: on a fabric by transport, and under a transport by fabric."""
    cells = document["cells"]
    numbers = {
        (row, column): f"{number:.3g}"
        for row in cells
        for column, cell in cells[row].items()
        if (number := value_of(cell["figures"], "senders_per_transfer")) is not None
    }
    for lines, places, word, joint in ((0, "column", "on", "with"), (1, "row", "with", "on")):
        said: dict[str, list[str]] = {}
        for line in dict.fromkeys(place[lines] for place in numbers):
            by_number: dict[str, list[str]] = {}
            for place, number in numbers.items():
                if place[lines] == line:
                    by_number.setdefault(number, []).append(place[1 - lines])
            if len(by_number) > 1:
                listed = "; ".join(f"{number} {joint} {', '.join(others)}" for number, others in by_number.items())
                said.setdefault(listed, []).append(line)
        for listed, of in said.items():
            yield f"Queue pairs of a transfer are not the same in every {places} {word} {', '.join(of)}: {listed}."


def _narrow_spreads(document: Mapping[str, Any]) -> Iterator[str]:
    """Say where packets are spread over fewer paths than there are, because a routing lists no more."""
    for row, cells in document["cells"].items():
        for column, cell in cells.items():
            paths = value_of(cell["figures"], "spread.paths")
            if paths is not None:
                shortest = value_of(cell["figures"], "spread.shortest_paths")
                yield f"On {row} {column} spreads packets over {paths:.3g} paths a transfer of {shortest:.3g} shortest ones."


def _left_open(document: Mapping[str, Any]) -> Iterator[str]:
    """Say what holds in columns that are no whole transport where their parts say nothing."""
    said: dict[str, list[str]] = {}
    for column, transport in document["transports"].items():
        for default in transport["left_open"]:
            said.setdefault(default, []).append(column)
    for default, columns in said.items():
        yield f"{', '.join(columns)} leave{'s' * (len(columns) == 1)} open {default}."


def _change(document: Mapping[str, Any], row: str, column: str, against: str) -> Mapping[str, Any] | None:
    found = document["cells"][row][column]["against"]
    found = None if found is None else found[against]
    return None if found is None else found.get(document["figure"]["key"])


def _by_transport(document: Mapping[str, Any], known: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """Say under each transport who is ahead, and of each watched fabric where it wins against the baseline's and where not."""
    base = document["baseline"]["fabric"]
    for column in document["transports"]:
        rows = {row: known[row, column] for row in document["fabrics"] if (row, column) in known}
        if len(rows) > 1:
            best = min(rows, key=rows.__getitem__)
            others = [_told(document, row, column) for row in rows if row != base]
            yield f"With {column}: lowest {best}, {rows[best]:.3g}; against {base} {', '.join(filter(None, others))}."
    for row, fabric in document["fabrics"].items():
        if fabric["family"] != WATCHED or row == base:
            continue
        wins: list[str] = []
        losses: list[str] = []
        alike: list[str] = []
        for column in document["transports"]:
            change = _change(document, row, column, "fabric")
            if change is not None and change["relative"] is not None:
                (alike if not change["differs"] else wins if change["relative"] < 0 else losses).append(column)
        parts = [f"{name} with {', '.join(columns)}" for name, columns in
                 (("ahead", wins), ("behind", losses), ("inside the noise", alike)) if columns]  # fmt: skip
        if parts:
            yield f"{row} against {base}: {'; '.join(parts)}."


def _told(document: Mapping[str, Any], row: str, column: str) -> str:
    """Return a fabric's change against the baseline's under a transport, in words; empty where it is not known."""
    change = _change(document, row, column, "fabric")
    if change is None or change["relative"] is None:
        return ""
    low, high = change["relative_interval"]
    noise = "" if change["differs"] else ", inside the noise"
    return f"{row} {change['relative']:+.1%} ({low:+.1%} to {high:+.1%}{noise})"


def _cables_or_transport(document: Mapping[str, Any], known: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """Say what the best transport does on the baseline's cables, the best cables under its transport, and both."""
    row, column = document["baseline"]["fabric"], document["baseline"]["transport"]
    if (row, column) not in known:
        return
    of_transport = {place: value for place, value in known.items() if place[0] == row and place[1] != column}
    of_cables = {place: value for place, value in known.items() if place[1] == column and place[0] != row}
    both = {place: value for place, value in known.items() if place[0] != row and place[1] != column}
    for what, found in (
        ("Transport alone", of_transport), ("Cables alone", of_cables), ("Both", both)
    ):  # fmt: skip
        if found:
            best = min(found, key=found.__getitem__)
            change = _change(document, *best, "baseline")
            if change is None or change["relative"] is None:
                continue
            low, high = change["relative_interval"]
            outside = "" if change["differs"] else ", inside the noise"
            lead = "at best" if change["relative"] < 0 else "none of which is lower, the nearest"
            yield (
                f"{what}, {lead} {best[0]} with {best[1]}: {change['relative']:+.1%} ({low:+.1%} to {high:+.1%}) "
                f"against {row} with {column}{outside}."
            )
