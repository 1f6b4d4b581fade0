"""The output folders of plans: provenance, plan.json, the page, topology files of the front, tables of one fabric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.fabric.model import Fabric
from zcube.outputs import to_json
from zcube.plan.candidate import Candidate
from zcube.plan.search.state import STATE_FILE, SearchState
from zcube.plan.topology_files import topology_text, write_topologies
from zcube.progress import Progress, silent
from zcube.report.plan_page import front_colours, plan_page
from zcube.report.standing_page import standing_page

if TYPE_CHECKING:
    from zcube.out_folder import OutFolder
    from zcube.plan.plan import Plan
    from zcube.plan.standing import FabricPlan

PLAN_FILE, PAGE_FILE = "plan.json", "plan.html"
#: Pictures on the page, which base64 makes a third larger.
MOST_PICTURE_BYTES = 1_600_000


def write_plan(
    plan: Plan, run_record: dict[str, Any], folder: OutFolder, progress: Progress = silent, state: SearchState | None = None
) -> Path:
    """Write everything a plan gave, as a whole or not at all, and return where.

    ``run.json`` (provenance), ``plan.json`` (byte-identical for equal demands), ``plan.html`` (the same for readers) and
    ``NAME.toml`` of every fabric on the front, of its stages of growth, or found by a search, which every other verb reads.
    With a search its ``state``, from which it can go on.
    """

    def fill(temporary: Path) -> None:
        document = plan.document()
        (temporary / PLAN_FILE).write_text(to_json(document), encoding="utf-8")
        by_name = {one.candidate.name: one.candidate for one in plan.measured}
        found = [name for name in (plan.search or {}).get("same_graph", ()) if name in by_name]
        write_topologies((by_name[name] for name in dict.fromkeys([*plan.front.names, *found])), temporary)
        if state is not None:
            (temporary / STATE_FILE).write_text(state.to_json(), encoding="utf-8")
        for growth in plan.growth.values():
            for name, spec in growth.targets.items():
                (temporary / f"{name}.toml").write_text(topology_text(spec), encoding="utf-8")
        progress("drawing", 0, 0, "")
        pictures = fabric_pictures(document, [by_name[name] for name in plan.front.names])
        (temporary / PAGE_FILE).write_text(plan_page(document, pictures), encoding="utf-8")

    return folder.write(fill, run_record)


def write_standing(plan: FabricPlan, run_record: dict[str, Any], folder: OutFolder, progress: Progress = silent) -> Path:
    """Write what was planned for one fabric, as a whole or not at all, and return where.

    ``run.json``, the files of :meth:`~zcube.plan.standing.FabricPlan.texts`, and ``plan.html``.
    """

    def fill(temporary: Path) -> None:
        for name, text in plan.texts().items():
            (temporary / name).write_text(text, encoding="utf-8", newline="\n")
        progress("drawing", 0, 0, "")
        stages = plan.growth.stages if plan.growth else ()
        pictures = _drawn((fabric.name, fabric, None) for fabric in (plan.fabric, *(stage.fabric for stage in stages)))
        (temporary / PAGE_FILE).write_text(standing_page(plan.document(), pictures), encoding="utf-8", newline="\n")

    return folder.write(fill, run_record)


def fabric_pictures(document: Mapping[str, Any], candidates: Iterable[Candidate]) -> dict[str, bytes]:
    """Draw the fabrics on the front in their colours of the page, and return them as SVG, as many as the page holds."""
    colours = front_colours(document)
    return _drawn((one.name, one.spec.build(one.name), colours[one.name]) for one in candidates)


def _drawn(fabrics: Iterable[tuple[str, Fabric, str | None]]) -> dict[str, bytes]:
    """Draw fabrics, each with its name and colour, as many as a page holds."""
    from zcube.report.fabric_drawing import draw_fabric
    from zcube.report.picture import svg_bytes

    drawn: dict[str, bytes] = {}
    for name, fabric, colour in fabrics:
        picture = svg_bytes(draw_fabric(fabric, colour))
        if sum(map(len, drawn.values())) + len(picture) > MOST_PICTURE_BYTES:
            break
        drawn[name] = picture
    return drawn
