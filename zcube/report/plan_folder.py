"""The output folder of a plan: provenance, plan.json, the topology files of the front."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.outputs import to_json
from zcube.plan.topology_files import topology_text, write_topologies

if TYPE_CHECKING:
    from zcube.out_folder import OutFolder
    from zcube.plan.plan import Plan

PLAN_FILE = "plan.json"


def write_plan(plan: Plan, run_record: dict[str, Any], folder: OutFolder) -> Path:
    """Write everything a plan gave, as a whole or not at all, and return where.

    ``run.json`` (provenance), ``plan.json`` (byte-identical for equal demands) and ``NAME.toml`` of every fabric on the front,
    which every other verb reads.
    """

    def fill(temporary: Path) -> None:
        (temporary / PLAN_FILE).write_text(to_json(plan.document()), encoding="utf-8")
        by_name = {one.candidate.name: one.candidate for one in plan.measured}
        write_topologies((by_name[name] for name in plan.front.names), temporary)
        for growth in plan.growth.values():
            for name, spec in growth.targets.items():
                (temporary / f"{name}.toml").write_text(topology_text(spec), encoding="utf-8")

    return folder.write(fill, run_record)
