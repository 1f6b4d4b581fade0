"""A fabric as readers explore it on a page: what is drawn, what links carried, how full they were over time.

What is stored beside a run is :func:`fabric_structure`; loads come from its tables. The page's script draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.fabric.model import CableKind, Fabric
from zcube.input_files import read_bounded
from zcube.inputs import json_document
from zcube.report.fabric_layout import grouped
from zcube.report.names import printable
from zcube.report.packed import packed, smallest, unpacked
from zcube.report.page import Section
from zcube.report.stored import MOST_BYTES, shown_from, stored_table

if TYPE_CHECKING:
    import pandas as pd

    from zcube.pricing.pieces import PiecePrices
    from zcube.replays.flows import Replay
    from zcube.report.results import Results

#: The page's script by its ideas.
SCRIPTS = tuple(
    f"topology-{idea}.js" for idea in ("elements", "fabric", "drawing", "picking", "told", "finding", "strips", "time")
)
#: Boxes in a row; what is more stands together at first.
MOST_BOXES = 64
#: Cables beyond which a fabric is not drawn for a page, and links whose own load goes into it: the fullest.
MOST_CABLES, MOST_LOADED_LINKS = 100_000, 8_192

#: Columns of a run's tables that are shown, and rows of them that are read at most.
_COLUMNS = {
    "links": ("to", "capacity_bps", "bytes", "peak_flows", "utilisation"),
    "load": ("of", "link", "bin_start_s", "bin_end_s", "utilisation", "fullest_link_utilisation"),
}
_TEXTS = ("to", "of")
MOST_ROWS = 20_000_000

#: What stands on the page of a fabric with more cables.
TOO_MANY = "{:,} cables are too many to be explored on a page; zcube fabric draw shows the tiers."


def fabric_structure(fabric: Fabric, prices: PiecePrices | None = None) -> dict[str, Any]:
    """Return what is drawn of a fabric as JSON-ready data.

    Parameters
    ----------
    fabric : Fabric
        What is built.
    prices : PiecePrices, optional
        What its pieces cost.
    """
    cables, kept = fabric.cables, int((fabric.cables.kind != CableKind.NVLINK).sum())
    described = {
        "family": printable(fabric.family),
        "gpus": fabric.gpus,
        "gpus_per_server": fabric.gpus_per_server,
        "nic_ports": fabric.nic_ports,
        "cables": kept,
        "links": fabric.links,
        "roles": _roles(fabric, prices),
        "names": [printable(name) for name in fabric.switch_names],
        "price_book": None if prices is None else printable(prices.price_book),
        "optics_rule": None if prices is None else prices.optics_rule,
        "too_many": TOO_MANY.format(kept) if kept > MOST_CABLES else None,
    }
    if kept > MOST_CABLES:
        return described
    groups = grouped(fabric, MOST_BOXES)
    rates, rate = np.unique(cables.gbps[:kept], return_inverse=True)
    ends = {"a": cables.a[:kept], "b": cables.b[:kept], "rate": rate.ravel(), "down": ~fabric.cable_up[:kept]}
    priced = prices is not None and bool(np.isfinite(prices.cable_usd).any())
    return described | {
        "blocks": [_runs(servers) for servers in groups.servers],
        "rows": [[_runs(nodes) for nodes in row] for row in groups.rows],
        "rates_gbps": rates.tolist(),
        **{name: packed(values.astype(np.int64), smallest(values)) for name, values in ends.items()},
        "cable_usd": packed(prices.cable_usd, "f8") if prices is not None and priced else None,
    }


def topology_section(
    fabrics: Mapping[str, Mapping[str, Any]], title: str = "Load over time and topology", note: str = ""
) -> Section:
    """Return the section of a page in which fabrics are explored.

    Parameters
    ----------
    fabrics : mapping
        By the name shown: of each what :func:`explored` returns.
    title : str
        Heading.
    note : str
        What is said above it.
    """
    data = {"fabrics": [{"name": printable(name), **value} for name, value in fabrics.items()]}
    loaded = any(value["load"] for value in fabrics.values())
    names = [printable(name) for name in fabrics]
    fields = {
        "names": names,
        "note": note,
        "loaded": loaded,
        "over_time": any(value["over_time"] for value in fabrics.values()),
    }
    return Section(title, "topology", "topology.html.j2", fields, SCRIPTS, "topology.css", data, is_open=True)


def explored(
    structure: Mapping[str, Any], links: pd.DataFrame | None = None, load: pd.DataFrame | None = None, length_s: float = 0.0
) -> dict[str, Any]:
    """Return a fabric with its loads as the page takes it.

    Parameters
    ----------
    structure : mapping
        :func:`fabric_structure`.
    links : DataFrame, optional
        What every link carried, as in ``links-<fabric>.parquet``; of another core than the fabric's it is not shown.
    load : DataFrame, optional
        Load over time, as in ``load-<fabric>.parquet``.
    length_s : float
        Length of the window that ``links`` is of.
    """
    fits = links is not None and length_s > 0 and structure["too_many"] is None and _of_fabric(structure, links)
    return {
        **structure,
        "load": {"length_s": length_s, **_loads(structure, links)} if fits and links is not None else None,
        "over_time": _over_time(structure, load) if load is not None and len(load) else None,
    }


def structure_file(slug: str) -> str:
    """Return the name of the file beside a run that holds what is drawn of a fabric."""
    return f"topology-{slug}.json"


def stored_section(results: Results, file: Callable[[str], Path | None]) -> Section | None:
    """Return the section of a comparison from what is stored of it, None where no fabric's structure is; as :func:`stored`."""
    found = stored(results, file)
    seed, seeds = results.document["seed"], results.document["seeds"]
    note = f"All loads in this section are those of seed {seed} alone, the first of {seeds}." if seeds > 1 else ""
    return topology_section(found, note=note) if found else None


def stored(results: Results, file: Callable[[str], Path | None]) -> dict[str, dict[str, Any]]:
    """Return what a page shows of every fabric of a comparison whose structure is stored, by the name shown.

    Parameters
    ----------
    results : Results
        Names, and windows of its fabrics.
    file : callable
        Gives the path of a file of the run by its name, None where there is none.

    Raises
    ------
    InputError
        If a table lacks a column or is too large.
    """
    found = {}
    for name, slug in results.slugs.items():
        structure = file(structure_file(slug))
        if structure is not None:
            tables = ((kind, file(f"{kind}-{slug}.parquet")) for kind in ("links", "load"))
            links, load = (
                None if path is None else stored_table(path, _COLUMNS[kind], MOST_ROWS, _TEXTS) for kind, path in tables
            )
            described = json_document(structure, read_bounded(structure, MOST_BYTES))
            with shown_from(structure.parent, structure.name):
                found[results.names[name]] = explored(described, links, load, results.fabrics[name]["window"]["length_s"])
    return found


def _of_fabric(structure: Mapping[str, Any], links: pd.DataFrame) -> bool:
    """Return whether links are the fabric's, as those of an ideal core are not."""
    first = int(unpacked(structure["b"])[0]) - structure["gpus"]
    return len(links) == structure["links"] and bool(links["to"].iloc[0] == structure["names"][first])


def fabric_section(fabric: Fabric) -> Section:
    """Return the section of a fabric alone."""
    return topology_section({fabric.name: explored(fabric_structure(fabric))}, "Topology")


def replay_section(replay: Replay) -> Section:
    """Return the section of a replay."""
    fabric, load = replay.carrier.fabric, replay.load
    value = explored(fabric_structure(fabric), replay.links(), None if load is None else load.frame(), replay.makespan_s)
    return topology_section({fabric.name: value})


def _roles(fabric: Fabric, prices: PiecePrices | None) -> list[dict[str, Any]]:
    return [
        {
            "name": printable(group.name),
            "first": group.first_node,
            "count": group.count,
            "model": printable(f"{group.model.name} ({group.model.ports} x {group.model.port_gbps:g}G)".strip()),
            "usd": None if prices is None else prices.switch_usd[place],
        }
        for place, group in enumerate(fabric.groups)
    ]


def _runs(numbers: IntArray) -> list[list[int]]:
    """Return whole numbers, ascending, as runs: first and how many."""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [[int(part[0]), len(part)] for part in parts]


def _loads(structure: Mapping[str, Any], links: pd.DataFrame) -> dict[str, Any]:
    """Return what links without NVLink carried: the fullest one by one, and for switches and servers what all did."""
    own = links.iloc[: 2 * structure["cables"]]
    used, carried = own["utilisation"].to_numpy(np.float64), own["bytes"].to_numpy(np.float64)
    order = np.argsort(-used, kind="stable")
    order = order[carried[order] > 0]
    kept = np.sort(order[:MOST_LOADED_LINKS])
    return {
        "link": packed(kept, smallest(kept)),
        "bytes": packed(carried[kept], "f8"),
        "utilisation": packed(used[kept], "f8"),
        "peak_flows": packed(own["peak_flows"].to_numpy()[kept], smallest(own["peak_flows"].to_numpy()[kept])),
        "left_out": max(0, len(order) - MOST_LOADED_LINKS),
        "fullest_left_out": float(used[order[MOST_LOADED_LINKS]]) if len(order) > MOST_LOADED_LINKS else None,
        "nodes": _node_loads(structure, own["capacity_bps"].to_numpy(np.float64), carried),
    }


def _node_loads(structure: Mapping[str, Any], capacity_bps: FloatArray, carried: FloatArray) -> dict[str, Any]:
    """Return bytes out of and into servers over NICs, behind them switches, and the line rates of these links together."""
    gpus, size = structure["gpus"], structure["gpus_per_server"]
    count = gpus // size + len(structure["names"])
    ends = np.stack([unpacked(structure[end]).astype(np.int64) for end in ("a", "b")], axis=1)
    ends = np.where(ends < gpus, ends // size, ends - gpus + gpus // size)
    sums = {}
    for way, place in (("out", ends.ravel()), ("in", ends[:, ::-1].ravel())):
        sums[f"{way}_bytes"] = packed(np.bincount(place, carried, count), "f8")
        sums[f"{way}_bps"] = packed(np.bincount(place, capacity_bps, count), "f8")
    return sums


def _over_time(structure: Mapping[str, Any], load: pd.DataFrame) -> dict[str, Any]:
    """Return how full switches and the fullest links were in bins of time [bins, names]."""
    edges_s = np.append(np.unique(load["bin_start_s"].to_numpy()), load["bin_end_s"].max())
    switches, links = (load[load["of"] == what] for what in ("switch", "link"))
    count = len(links) // (len(edges_s) - 1)
    return {
        "edges_s": packed(edges_s, "f8"),
        "switch": packed(switches["utilisation"].to_numpy(), "f4"),
        "switch_fullest": packed(switches["fullest_link_utilisation"].to_numpy(), "f4"),
        "links": links["link"].to_numpy()[:count].tolist(),
        "link": packed(links["utilisation"].to_numpy(), "f4"),
    }
