"""A plan as plain text for a terminal or a pipe: the recommendation, the front, the others and why not they."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.plan.measures import value_at
from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.plan_measures import LOST_AND_SLOWER

_NONE = "-"
STATES = {
    "beaten": "Beaten by one of the front:",
    "not compared": "Not compared:",
    "outside the bounds": "Outside the bounds:",
}
#: What cannot be built is listed up to so many lines.
MOST_LISTED = 40

#: Columns: heading, keys that lead to the value, how it is written.
_COLUMNS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("switches", ("counts", "switches"), "{:,.0f}"),
    ("ports", ("counts", "switch_ports"), "{:,.0f}"),
    ("vs base", ("against_baseline", "switch_ports"), "{:+.1%}"),
    ("modules", ("counts", "switch_modules"), "{:,.0f}"),
    ("capital k$", ("cost", "capital_usd"), "k"),
    ("$/GPU", ("cost", "capital_usd_per_gpu"), "{:,.0f}"),
    ("kW", ("power", "power_w_most"), "k"),
    ("oversub", ("oversubscription",), "{:.2g}"),
    ("bisect", ("paths", "bisection_of_nic_rate"), "{:.2f}"),
    ("random", ("traffic", "random_permutation_mean"), "{:.2f}"),
    ("worst", ("traffic", "worst_permutation_mean"), "{:.2f}"),
    ("funnel", ("traffic", "kv_funnel_over_nic"), "{:.2f}"),
    ("after", ("failure", "share_after_mean"), "{:.2f}"),
    ("lost", ("failure", "rate_lost_mean"), "{:.1%}"),
    ("slower", ("failure", "slower_mean"), "{:+.1%}"),
    ("all up", ("availability", "no_switch_down"), "{:.1%}"),
)
_SIMULATED = (
    ("TTFT P99 s", ("simulation", "ttft_p99_s"), "{:.3g}"),
    ("tok/s", ("simulation", "output_tokens_per_s"), "{:,.0f}"),
    ("$/Mtok", ("simulation", "usd_per_million_output_tokens"), "{:.3g}"),
)


def plan_table(document: Mapping[str, Any]) -> str:
    """Return a plan's document as text."""
    fabrics, front = document["fabrics"], document["front"]
    lines = _answer(document)
    columns = [*_COLUMNS, *(_SIMULATED if any(fabric["simulation"] for fabric in fabrics.values()) else ())]
    if front:
        lines += ["", f"On the front (objectives: {', '.join(document['objectives'])}):", *_rows(fabrics, front, columns)]
    for group in document["ties"]:
        lines.append(f"a tie: {', '.join(map(printable, group))}")
    lines += _growth(document)
    for state, heading in STATES.items():
        names = [name for name, fabric in fabrics.items() if fabric["state"] == state]
        if names:
            lines += ["", heading, *_rows(fabrics, names, columns, why=True)]
    lines += _searched(document)
    lines += _not_built(document)
    demand, book, power = document["demand"], document["price_book"], document["power_book"]
    lines += [
        "",
        f"vs base: change of switch ports against {document['baseline'] or 'nothing'}. modules: those in switches.",
        "random, worst: mean share of the NIC rate under random permutations and under the worst one tried.",
        "funnel: load of the fullest link between switches over that of the fullest NIC, KV sent from one NIC a server.",
        "after: rate of transfers between servers after a switch with GPUs has failed, over what NICs alone let through.",
        f"lost, slower: after one switch with GPUs has failed, {demand['failure_partners']} partners a server.",
        LOST_AND_SLOWER,
        "all up: probability of that. -: not known, plan.json says why.",
        f"Price book: {book['name']} ({book['source']}), {book['covers']}; optics {demand['optics']}.",
        f"Power book: {power['name'] if power else 'none'}; power of a device {document['power_rule']}.",
        *_link_failures(document),
    ]
    return "".join(f"{line}\n" for line in lines)


def _answer(document: Mapping[str, Any]) -> list[str]:
    if document["recommendation"]:
        losses = "; ".join(one["words"] for one in document["where_zcube_does_not_win"])
        return [*document["recommendation"]["words"], *([f"ZCube does not win in {losses}."] if losses else ())]
    lines = ["Nothing meets the demand."]
    lines += [f"{name}: {fabric['refused']}" for name, fabric in document["fabrics"].items() if fabric["refused"]][:MOST_LISTED]
    if document["nearest_demands"]:
        lines.append("Nearest demands that can be met:")
        for change in document["nearest_demands"][:6]:
            whose = change.get("fabric") or f"{change.get('family')}, {change.get('arrangement')}"
            keys = {key: value for key, value in change.items() if key not in ("family", "arrangement", "fabric")}
            lines.append(f"  {', '.join(f'{key} = {value}' for key, value in keys.items())}  ({whose})")
    return lines


def _growth(document: Mapping[str, Any]) -> list[str]:
    """Return a line for every stage of every fabric that grows."""
    cells: list[tuple[str, ...]] = [
        ("fabric", "to GPUs", "capital k$", "kept", "moved", "removed", "added", "steps that cut off")
    ]
    told = []
    for name, fabric in document["fabrics"].items():
        growth = fabric["growth"]
        if growth is None:
            continue
        for stage in growth["stages"]:
            keys = ("links_kept", "links_moved", "links_removed", "links_added", "steps_that_cut_off")
            counts = (_NONE if stage[key] is None else f"{stage[key]:,}" for key in keys)
            usd = _text(stage, ("capital_usd",), "k")
            cells.append((printable(name), f"{stage['gpus_after']:,}", usd, *counts))
            if stage["moves_left_out"]:
                told.append(f"{stage['to']}: moves are not worked out, {stage['moves_left_out']}")
        if growth["stopped_at_gpus"] is not None:
            told.append(f"{printable(name)} cannot be grown to {growth['stopped_at_gpus']:,} GPUs: {growth['why_stopped']}")
    if len(cells) == 1 and not told:
        return []
    return ["", "Growth, by stage, the links of before:", *(aligned(cells, 1) if len(cells) > 1 else ()), *told]


def _rows(
    fabrics: Mapping[str, Any], names: list[str], columns: list[tuple[str, tuple[str, ...], str]], why: bool = False
) -> list[str]:
    cells = [("fabric", *(heading for heading, _, _ in columns), *(("beaten by",) if why else ()))]
    for name in names:
        fabric = fabrics[name]
        row = [printable(name), *(_text(fabric, path, form) for _, path, form in columns)]
        cells.append((*row, fabric["beaten_by"] or _NONE) if why else tuple(row))
    return aligned(cells, (0, len(columns) + 1))


def _text(fabric: Mapping[str, Any], path: tuple[str, ...], form: str) -> str:
    value = value_at(fabric, path)
    if value is None:
        return _NONE
    return f"{value / 1000:,.0f}" if form == "k" else form.format(value)


def _link_failures(document: Mapping[str, Any]) -> list[str]:
    part: Mapping[str, Any] | None = next(
        (fabric["availability"]["parts"]["switch_link"] for fabric in document["fabrics"].values() if fabric["availability"]),
        None,
    )
    if part is None or part["failures_per_year_of_one"] is None:
        return []
    return [f"Links between switches fail {part['failures_per_year_of_one']:g} times a year each: {part['source']}."]


def _searched(document: Mapping[str, Any]) -> list[str]:
    search = document["search"]
    if search is None:
        return []
    lines = [
        "",
        f"Search: {search['generations']} generations of {search['population']}, {search['fabrics_drawn']:,} fabrics drawn, "
        f"{search['graphs_measured']:,} graphs measured, {search['graphs_that_meet_the_demand']:,} meet the demand, "
        f"{search['on_the_search_front']} on the search's own front. {search['settling']['words']}",
    ]
    for name, same in search["same_graph"].items():
        twin = f"; the graph of {printable(same)}" if same else ""
        lines.append(f"  {printable(name)}: {document['fabrics'][name]['arrangement'].removeprefix('found by search: ')}{twin}")
    return lines


def _not_built(document: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if document["cannot_be_built"]:
        lines += ["", "Cannot be built:"]
    for one in document["cannot_be_built"][:MOST_LISTED]:
        near = " or ".join(", ".join(f"{key} = {value}" for key, value in change.items()) for change in one["nearest_demands"])
        can = f"; could with {near}" if near else ""
        lines.append(f"  {one['arrangement']} of {one['switch']} ({one['binding']}): {one['arithmetic']}{can}")
    if document["set_aside"]:
        count = len(document["set_aside"])
        lines += [
            "",
            f"{count} more were not built: others of their family have no more switches and cables (plan.json lists them).",
        ]
    return lines
