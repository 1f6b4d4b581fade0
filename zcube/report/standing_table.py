"""What was planned for a fabric, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator

from zcube.plan.failed_serving import FailedServing
from zcube.plan.failures import FailureReport
from zcube.plan.growth.stages import Stage
from zcube.plan.placement.placing import PlacementReport
from zcube.plan.rewiring.rewired import Rewired
from zcube.plan.room.room import RoomPlan
from zcube.plan.standing import FabricPlan
from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.standing_page import SERVED

_NONE = "-"


def standing_table(plan: FabricPlan) -> str:
    """Return a fabric's plan as sections of lines."""
    sections = []
    for number, stage in enumerate(plan.growth.stages if plan.growth else (), 1):
        sections.append([*_stage(number, stage)])
    if plan.rewired is not None:
        sections.append([*_rewired(plan.rewired)])
    sections += [[*_room(room)] for room in plan.rooms]
    if plan.placement is not None:
        sections.append([*_placement(plan.placement)])
    if plan.failures is not None:
        sections.append([*_failures(plan.failures)])
    if plan.serving is not None:
        sections.append([*_serving(plan.serving)])
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in sections)


def _stage(number: int, stage: Stage) -> Iterator[str]:
    by_names = stage.kept_by_names
    yield f"Stage {number}: {printable(stage.start.name)} to {printable(stage.fabric.name)}"
    yield f"  GPUs {stage.start.gpus:,} to {stage.fabric.gpus:,}, links {stage.old_links:,} to {len(stage.labels):,}"
    yield f"  links kept {stage.kept:,}, moved by one plug {stage.moved:,}, removed {stage.removed:,}, added {stage.added:,}"
    kept = ", ".join(f"{by_names[name]:,} {words}" for name, words in _NAMES.items())
    yield f"  kept {kept}; no renaming keeps more than {stage.most_kept:,}"
    windows = stage.windows
    if windows:
        most = max(move.gpus_cut_off for move in windows)
        first = ", ".join(str(move.step) for move in windows[:8]) + (", ..." if len(windows) > 8 else "")
        yield f"  {len(windows):,} of {len(stage.moves):,} steps cut GPUs off, at most {most:,}: {first}"
    else:
        yield f"  every GPU in service stays reachable at each of {len(stage.moves):,} steps"
    if stage.bill is not None:
        total = stage.bill.total_usd
        bought = sum(line.bought for line in stage.bill.lines if line.part == "switches")
        cost = "cost unknown, a price is missing" if total is None else f"{total:,.0f} USD"
        book = printable(stage.bill.price_book)
        yield f"  bought: {bought:,} switches; with modules and NICs {cost} by {book}, cables unpriced"


def _rewired(found: Rewired) -> Iterator[str]:
    told = found.document()
    yield f"Wiring of {printable(found.fabric.name)}: {told['nic_cables_moved']:,} of {told['nic_cables']:,} NIC cables moved"
    yield "  P50 and P99 of transfers over those of an ideal core, by packets; load of the fullest link over the fullest NIC's"
    cells: list[tuple[str, ...]] = [("", "P50", "P99", "fullest link")]
    for name in ("before", "after"):
        row = told[name]
        figures = (row["p50_over_ideal"], row["p99_over_ideal"], row["fullest_link_over_fullest_nic"])
        cells.append((name, *(f"{figure:.3f}" for figure in figures)))
    yield from (f"  {line}" for line in aligned(cells, (0,)))


_NAMES = {"planned": "with names and ports as planned", "switches": "with switches renamed", "all": "with servers too"}


def _room(room: RoomPlan) -> Iterator[str]:
    found = room.document()
    power = _NONE if found["kw"] is None else f"{found['kw']:,.0f} kW, {found['kw_most']:g} kW the most in one"
    yield f"Room of {printable(room.fabric)}"
    racks = f"{found['racks']:,} ({found['server_racks']:,} with servers, {found['switch_racks']:,} with switches)"
    yield f"  racks {racks}, power {power}"
    run, in_order = (found[key] / 1000 for key in ("route_m", "route_m_switches_in_order"))
    yield f"  cables run {run:,.2f} km; with switches in order {in_order:,.2f} km"
    for medium, metres in found["ordered_m_by_medium"].items():
        count = sum(line.links for line in room.order if line.medium == medium)
        yield f"  {medium}: {count:,} links, {metres / 1000:,.2f} km ordered"
    yield f"  spares {found['spares']:,}, longest {found['longest_m']:g} m"
    over = found["trays_over_limit"]
    if over is not None:
        fullest = found["fullest_tray"]
        yield f"  fullest tray {fullest['section']} at {100 * fullest['fill']:.1f} %; over the limit: {len(over):,}"


def _placement(report: PlacementReport) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("Placement", "mean s", "p50 s", "p99 s")]
    for row in report.rows:
        rows.append((row.name, *(f"{row.transfer_s[key]:.4f}" for key in ("mean", "p50", "p99"))))
    yield from aligned(rows)
    load = report.load
    yield f"KV transfers of {load.transfers:,} requests, {load.rank_map}, fluid; {report.trials:,} placements tried."


def _failures(report: FailureReport) -> Iterator[str]:
    counted = ("count", "cut off", "worst", "NIC lost", "links lost")
    rows: list[tuple[str, ...]] = [("Failure", "of", *counted, "run", "slower", "worst", "by")]
    for row in report.rows:
        slower = [_NONE if value is None else f"{100 * value:+.1f} %" for value in (row.slower_mean, row.slower_worst)]
        lost = [f"{100 * value:.2f} %" for value in (row.nic_lost_mean, row.trunk_lost_mean)]
        counts = (f"{row.count:,}", f"{row.cut_off_mean:.2f}", f"{row.cut_off_worst:,}")
        rows.append((row.kind, printable(row.like), *counts, *lost, f"{row.simulated:,}", *slower, printable(row.slower_which)))
    yield from aligned(rows, (0, 1, 10))
    yield f"cut off: GPUs that switches join no more. slower: transfers to {report.partners} servers each, relays over NVLink."


def _serving(serving: FailedServing) -> Iterator[str]:
    found = serving.document()
    rows: list[tuple[str, ...]] = [("On the scenario", "of those simulated", *SERVED.values())]
    rows.append(("nothing failed", "", *(_figure(found["whole"][key]) for key in SERVED)))
    for one in found["failed"]:
        cells = (f"{_figure(one[key])}{_changed(one['change'][key])}" for key in SERVED)
        rows.append((printable(one["failure_of"]), one["chosen_as"], *cells))
    yield from aligned(rows, (0, 1))
    yield from (f"{printable(one['failure_of'])} stopped: {one['failure']}" for one in found["failed"] if one["failure"])


def _figure(value: float | str | None) -> str:
    return _NONE if value is None else value if isinstance(value, str) else f"{value:,.4g}"


def _changed(change: float | None) -> str:
    return "" if change is None else f" ({100 * change:+.1f} %)"
