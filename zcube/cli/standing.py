"""``zcube plan --from``: growth, room, placement and failures of a fabric that stands."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcube.plan.placement.kv_sample import KvLoad


def plan_standing(given: Mapping[str, Any]) -> None:
    """Plan the fabric of ``--from`` and print or write what is asked for.

    Parameters
    ----------
    given : mapping
        Options of ``zcube plan``, as text.
    """
    from zcube.cli.progress import RunProgress
    from zcube.cli.record import RunRecord
    from zcube.errors import FaultList
    from zcube.fabric.catalog import load_fabric
    from zcube.fabric.wiring.rack_layout import load_layout
    from zcube.inputs import assigned
    from zcube.out_folder import out_folder
    from zcube.outputs import to_json
    from zcube.plan.growth.targets import larger_fabrics
    from zcube.plan.rewiring.rewired import wiring_task
    from zcube.plan.standing import fabric_plan
    from zcube.pricing.price_book import load_price_book
    from zcube.scenario import load_scenario

    record, faults = RunRecord(), FaultList()
    keys: dict[str, Any] = {"names": given["names"], "failures": given["failures"]}
    fabric = folder = None
    with faults:
        fabric = load_fabric(given["from_"])
    with faults:
        keys["seed"] = _whole(given["seed"] or "0", "--seed")
    with faults:
        if given["to_gpus"] is not None:
            counts = [_whole(text, "--to-gpus") for text in given["to_gpus"].split(",")]
            keys["targets"] = larger_fabrics(given["from_"], counts, assigned(given["to_set"] or (), "--to-set"))
        for reference in given["to"] or ():
            keys["targets"] = [*keys.get("targets", ()), load_fabric(reference)]
    with faults:
        keys["book"] = load_price_book(given["price_book"] or "mixnet-2025")
    with faults:
        keys["room"] = None if given["rooms"] is None else load_layout(Path(given["rooms"]))
    with faults:
        keys["load"] = _load(given["nodes"], given["rank_map"])
    with faults:
        keys["scenario"] = None if given["scenario"] is None else load_scenario(given["scenario"])
        keys["reference"] = given["from_"]
    with faults:
        if given["wire"] is not None and fabric is not None:
            keys["wiring"] = wiring_task(given["wire"], given["from_"], fabric, given["wire_set"] or ())
    with faults:
        folder = None if given["out"] is None else out_folder(given["out"])
    faults.check()
    assert fabric is not None
    with RunProgress() as progress:
        found = fabric_plan(fabric, progress=progress, **keys)
    if given["json"]:
        sys.stdout.write(to_json(found.document()))
    else:
        from zcube.report.standing_table import standing_table

        sys.stdout.write(standing_table(found))
    if folder is not None:
        from zcube.report.plan_folder import write_standing

        declared = {key: value for key, value in given.items() if key not in ("out", "json")}
        with RunProgress() as progress:
            written = write_standing(found, record.document({**declared, "seed": found.seed}, None, "demand"), folder, progress)
        print(f"written: {written}", file=sys.stderr)


def _whole(text: str, option: str) -> int:
    from zcube.errors import Fault, InputError

    if not (text.strip().isascii() and text.strip().isdecimal() and len(text.strip()) <= 9):
        raise InputError(Fault(option, repr(text), "whole numbers"))
    return int(text)


def _load(nodes: str | None, ranks: str) -> KvLoad | None:
    """Return the load of ``--nodes 64+64``: prefill and decode nodes."""
    from zcube.errors import Fault, InputError
    from zcube.inputs import validate
    from zcube.llm.rankmap import named_layouts, rank_map
    from zcube.plan.placement.kv_sample import KvLoad

    if named_layouts(ranks) is None:
        rank_map(ranks)
    if nodes is None:
        return None
    parts = nodes.split("+")
    if len(parts) != 2:
        raise InputError(Fault("--nodes", repr(nodes), "prefill and decode nodes, e.g. 64+64"))
    prefill, decode = (_whole(part, "--nodes") for part in parts)
    return validate(KvLoad, {"prefill_nodes": prefill, "decode_nodes": decode, "rank_map": ranks}, "--nodes")
