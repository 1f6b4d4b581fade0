"""What fabrics cost, which ones meet a demand, and what is to be done to one that stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.fabric.optics import OpticsRule, optics_of
from zcube.fabric.wiring.rack_layout import load_layout
from zcube.front_door.given import FabricLike, checked_jobs, compile_ahead, fabric_of
from zcube.inputs import validate
from zcube.plan.candidates import generators
from zcube.plan.demand import load_demand
from zcube.plan.growth.renaming import Names
from zcube.plan.growth.targets import larger_fabrics
from zcube.plan.placement.kv_sample import KvLoad
from zcube.plan.plan import Plan
from zcube.plan.plan import plan as answer
from zcube.plan.rewiring.rewired import wiring_task
from zcube.plan.search.search import search as breed
from zcube.plan.search.searched import Searched
from zcube.plan.search.settings import SearchSettings
from zcube.plan.standing import FabricPlan, fabric_plan
from zcube.pricing.bill import DEFAULT_RULE, BillOfMaterials, bill_of_materials
from zcube.pricing.counted import counted_bill
from zcube.pricing.price_book import load_price_book
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, load_scenario


def cost(
    fabric: FabricLike | Mapping[str, Any], price_book: str | Path = "mixnet-2025", *, optics: OpticsRule = DEFAULT_RULE
) -> BillOfMaterials:
    """Price a fabric's switches, optics and NICs.

    Parameters
    ----------
    fabric : str, Path, Fabric or mapping
        What is priced; a mapping has counts, e.g. ``{"switches": 1568, "switch_links": 32928}``.
    price_book : str or Path
        Bundled price book or a TOML file.
    optics : {"paper", "all-optical", "by-length"}
        Rule by which cages hold modules, see docs/fabrics.md.

    Raises
    ------
    InputError
        With every fault of the fabric or the book.
    """
    if isinstance(fabric, Mapping):
        return counted_bill(fabric, load_price_book(str(price_book)))
    built = fabric_of(fabric)
    return bill_of_materials(built, load_price_book(str(price_book)), optics_of(built, optics))


def plan(
    demand: str | Path | None = None,
    *,
    search: bool | Mapping[str, Any] = False,
    jobs: int = 1,
    progress: Progress = silent,
    **keys: Any,
) -> Plan:
    """Find the fabrics that meet a demand.

    Parameters
    ----------
    demand : str or Path, optional
        TOML file.
    search : bool or mapping
        Whether fabrics are searched for that no family has; keys ``population`` and ``generations`` say how long. The extra
        ``zcube[search]`` is needed.
    jobs : int
        Fabrics measured and simulated at a time, as of :func:`compare`.
    progress : Progress, optional
        Told what is under way and how much of it is done.
    **keys
        Keys of a demand, before the file's: ``gpus=1024, nic=400, switch="25.6T"``; docs/plan.md lists them.

    Raises
    ------
    InputError
        With every fault of the demand and of the files it names.
    """
    site, searched = load_demand(None if demand is None else str(demand), keys, tuple(generators())), None
    if checked_jobs(jobs) > 1:
        compile_ahead("flow", progress)
    if search is not False:
        settings = validate(SearchSettings, {} if search is True else search, "search")
        searched = Searched(site, breed(site, settings, jobs=jobs, progress=progress))
    return answer(site, progress, searched, jobs)


def plan_fabric(
    fabric: FabricLike,
    *,
    to: Sequence[FabricLike] = (),
    to_gpus: Sequence[int] = (),
    changes: Mapping[str, Any] | None = None,
    names: Names = "all",
    price_book: str | Path = "mixnet-2025",
    room: str | Path | None = None,
    nodes: tuple[int, int] | None = None,
    rank_map: str = "cp8-dp8",
    wire: str | Path | None = None,
    wire_changes: Sequence[str] = (),
    failures: bool = False,
    scenario: str | Path | Scenario | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FabricPlan:
    """Plan one fabric: how it grows, its room, where prefill and decode sit, what failures do.

    Parameters
    ----------
    fabric : str, Path or Fabric
        What stands.
    to : sequence of str, Path or Fabric
        Fabrics that it grows into, one after the other.
    to_gpus : sequence of int
        GPUs of stages in front of these, built from the topology of ``fabric``, which then is its name or file.
    changes : mapping, optional
        Keys of the larger topologies, dotted, e.g. ``{"gpus_per_switch": 32}``.
    names : {"all", "switches", "planned"}
        Which devices may become another of the larger fabric.
    price_book : str or Path
        Prices of what a stage buys.
    room : str or Path, optional
        Machine room, a TOML file.
    nodes : tuple of int, optional
        Prefill and decode nodes to seat.
    rank_map : str
        Which GPU of a prefill node sends to which of a decode node.
    wire : str or Path, optional
        Traffic that a better NIC cabling is looked for, see docs/searching.md; ``fabric`` then is a name or file.
    wire_changes : sequence of str
        ``KEY=VALUE`` of what it declares.
    failures : bool
        Whether to judge single and double failures.
    scenario : str, Path or Scenario, optional
        With ``failures``: what the worst and the median failure of a switch are simulated on; ``fabric`` is then a name or
        file.
    seed : int
        Of all that is drawn.
    progress : Progress, optional
        Told what is under way.

    Raises
    ------
    InputError
        With every fault of what was given.
    """
    if to_gpus and isinstance(fabric, Fabric):
        raise InputError(Fault("to_gpus", "a fabric in memory", "a topology's name or file, or the larger fabrics as to"))
    if wire is not None and isinstance(fabric, Fabric):
        raise InputError(Fault("wire", "a fabric in memory", "a topology's name or file"))
    stands = fabric_of(fabric)
    larger = larger_fabrics(str(fabric), to_gpus, changes or {}) if to_gpus else []
    pools = {} if nodes is None else {"prefill_nodes": nodes[0], "decode_nodes": nodes[1], "rank_map": rank_map}
    return fabric_plan(
        stands,
        targets=[*larger, *map(fabric_of, to)],
        names=names,
        book=load_price_book(str(price_book)),
        wiring=None if wire is None else wiring_task(str(wire), str(fabric), stands, wire_changes),
        room=None if room is None else load_layout(Path(room)),
        load=validate(KvLoad, pools, "nodes") if pools else None,
        failures=failures,
        scenario=scenario if scenario is None or isinstance(scenario, Scenario) else load_scenario(str(scenario)),
        reference=None if isinstance(fabric, Fabric) else str(fabric),
        seed=seed,
        progress=progress,
    )
