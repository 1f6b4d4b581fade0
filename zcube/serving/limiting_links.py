"""Which links held first tokens up: of each request the link that bounded its last transfer longest, and totals over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.network.protocol import LinkTable
from zcube.serving.run import ServingRun
from zcube.serving.transfers import KV

#: Parts of the time to first token in which transfers send.
SENDING = ("transfer", "type1", "type2")
#: What a link is: out of a GPU's NIC and into one, between switches, within a server; and what has none.
CLASSES = ("nic_out", "nic_in", "switch", "nvlink", "none")
MOST_LINKS = 10


def limiting_link(run: ServingRun) -> IntArray:
    """Return of each request the link that bounded its KV transfer longest that arrived last; -1 for none [requests].

    No link bounds a transfer that its own cap (``kv.efficiency``) holds; of transfers that arrived together the one posted
    first counts. The packet fidelity names no links.
    """
    kv = np.flatnonzero((run.flow_kind == KV) & np.isfinite(run.completions.finish_s))
    request, finish_s = run.flow_request[kv], run.completions.finish_s[kv]
    link = np.full(len(run.journeys.outcome), -1, dtype=np.int64)
    # The last written of a request is the one that counts.
    order = np.lexsort((-kv, finish_s))
    link[request[order]] = run.completions.bound_link[kv[order]]
    return link


def link_totals(run: ServingRun, parts: Mapping[str, FloatArray], done: BoolArray) -> dict[str, Any] | None:
    """Return how long first tokens waited for transfers, by the link that bounded these, JSON-ready.

    Parameters
    ----------
    run : ServingRun
        The run.
    parts : dict of float array [requests]
        Of the time to first token.
    done : bool array [requests]
        Which requests count; those without a transfer do not.

    Returns
    -------
    dict or None
        ``by_class`` of :data:`CLASSES`, and in ``links`` at most :data:`MOST_LINKS`, those with most contention first; both
        with requests and seconds of each part of :data:`SENDING`. None where the network model names no link.
    """
    if not run.names_links:
        return None
    link, counted = limiting_link(run), np.flatnonzero(done & (run.journeys.prefill_node >= 0))
    seconds = np.array([parts[part][counted] for part in SENDING])
    of = link[counted]
    classes = np.array([*_classes(run.links), CLASSES.index("none")])
    by_class = {name: _totals(seconds, classes[of] == number) for number, name in enumerate(CLASSES)}
    held_s = np.bincount(of[of >= 0], seconds[1:].sum(axis=0)[of >= 0], len(run.links.capacity_bps))
    used = np.bincount(of[of >= 0], minlength=len(held_s))
    worst = [one for one in np.lexsort((-used, -held_s)).tolist()[:MOST_LINKS] if used[one]]
    return {
        "by_class": by_class,
        "links": [
            {"link": one, "from": run.links.source[one], "to": run.links.target[one], "class": CLASSES[classes[one]]}
            | _totals(seconds, of == one)
            for one in worst
        ],
    }


def _classes(links: LinkTable) -> IntArray:
    """Return the class of every link by number in :data:`CLASSES`."""
    kind = np.array(links.kind)
    nic = np.where(links.leaves_gpu, CLASSES.index("nic_out"), CLASSES.index("nic_in"))
    others = np.where(kind == "nvlink", CLASSES.index("nvlink"), CLASSES.index("switch"))
    return np.where(kind == "nic", nic, others).astype(np.int64)


def _totals(seconds: FloatArray, rows: BoolArray) -> dict[str, Any]:
    return {"requests": int(rows.sum())} | {
        f"{part}_s": float(of[rows].sum()) for part, of in zip(SENDING, seconds, strict=True)
    }
