"""The page of a plan: the answer in words, the front as a plot to explore, pictures, bills, and what was not built and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zcube import __version__
from zcube.plan.measures import VALUES, value_at
from zcube.plan.objectives import OBJECTIVES
from zcube.report.inline_svg import inline_svg
from zcube.report.names import display_names, file_slugs, printable
from zcube.report.page import render_page
from zcube.report.palette import fabric_colours
from zcube.report.plan_measures import ABSENT, LOST_AND_SLOWER, SECTIONS, SIMULATED

#: Outlines of points around (0, 0), so that colours need not be told apart; the first fabrics of the front differ in both.
SHAPES = (
    "M-6,0A6,6 0 1 0 6,0A6,6 0 1 0 -6,0Z",
    "M-5.3,-5.3H5.3V5.3H-5.3Z",
    "M0,-7.5L7.5,0L0,7.5L-7.5,0Z",
    "M0,-7L6.6,5H-6.6Z",
    "M0,7L6.6,-5H-6.6Z",
    "M-2.2,-6.5H2.2V-2.2H6.5V2.2H2.2V6.5H-2.2V2.2H-6.5V-2.2H-2.2Z",
)
#: What cannot be built, and fabrics that are not on the front, are listed up to so many rows.
MOST_LISTED = 200


def plan_page(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return the page of a plan.

    Parameters
    ----------
    document : mapping
        ``Plan.document()``.
    pictures : mapping
        SVG of fabrics on the front, by name; of those without one it says so.
    """
    fabrics = document["fabrics"]
    colours = front_colours(document)
    marks = list(zip(document["front"], colours.values(), _shapes(colours.values()), strict=True))
    front = [_face(document, *mark) for mark in marks]
    names, slugs = display_names(fabrics), file_slugs(fabrics)
    simulated = any(fabric["simulation"] for fabric in fabrics.values())
    sections = {**SECTIONS, "On the scenario": SIMULATED} if simulated else SECTIONS
    plot = _plot(document, front)
    return render_page(
        "plan.html.j2",
        styles=["plan.css"],
        scripts=["plan.js"] if plot["objectives"] else [],
        data={"plan-data": plot} if plot["objectives"] else {},
        demand=document["demand"],
        lost_and_slower=LOST_AND_SLOWER,
        words=[printable(sentence) for sentence in document["recommendation"]["words"]] if document["recommendation"] else [],
        losses=[printable(one["words"]) for one in document["where_zcube_does_not_win"]],
        chosen=document["recommendation"]["fabric"] if document["recommendation"] else None,
        refusals=[(names[name], fabric["refused"]) for name, fabric in fabrics.items() if fabric["refused"]][:MOST_LISTED],
        nearest=[_change(change) for change in document["nearest_demands"]],
        front=front,
        pictures={
            name: inline_svg(picture, f"drawing-{slugs[name]}", f"{names[name]}: {printable(fabrics[name]['arrangement'])}")
            for name, picture in pictures.items()
        },
        ties=[[names[name] for name in group] for group in document["ties"]],
        plot=plot,
        measures=[(title, [_row(measure, fabrics, document["front"]) for measure in rows]) for title, rows in sections.items()],
        bill=_bill(fabrics, document["front"]),
        totals=_totals(fabrics, document["front"]),
        price_book=document["price_book"],
        power_book=document["power_book"],
        power_rule=document["power_rule"],
        counting_rule=document["counting_rule"],
        others=[
            {"slug": slugs[name], **_other(names, name, fabric)}
            for name, fabric in fabrics.items()
            if name not in document["front"]
        ],
        unbuildable=[_unbuildable(one) for one in document["cannot_be_built"][:MOST_LISTED]],
        set_aside=[(printable(name), one["reason"]) for name, one in document["set_aside"].items()][:MOST_LISTED],
        missing=[(names[name], reason) for name in document["front"] for reason in fabrics[name]["missing"]],
        search=document["search"],
        baseline=document["baseline"] and names[document["baseline"]],
        absent=ABSENT,
        version=__version__,
    )


def _shapes(colours: Iterable[str]) -> list[str]:
    """Return an outline for each of some colours: no two alike in both, as long as there are enough."""
    shapes: list[str] = []
    met: set[tuple[str, str]] = set()
    for number, colour in enumerate(colours):
        start = number % len(SHAPES)
        turned = (*SHAPES[start:], *SHAPES[:start])
        shapes.append(next((shape for shape in turned if (colour, shape) not in met), turned[0]))
        met.add((colour, shapes[-1]))
    return shapes


def _face(document: Mapping[str, Any], name: str, colour: str, shape: str) -> dict[str, Any]:
    """Return how a fabric of the front is shown everywhere on the page."""
    fabrics, front = document["fabrics"], document["front"]
    fabric = fabrics[name]
    return {
        "given": name,
        "name": display_names(fabrics)[name],
        "slug": file_slugs(fabrics)[name],
        "colour": colour,
        "shape": shape,
        "arrangement": printable(fabric["arrangement"]),
        "availability": fabric["availability"],
        "failure": fabric["failure"],
        "growth": fabric["growth"],
        "is_chosen": bool(front) and document["recommendation"] and name == document["recommendation"]["fabric"],
    }


def front_colours(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the colour of every fabric on the front, as the compare page gives it to the same fabrics."""
    return fabric_colours({name: document["fabrics"][name] for name in document["front"]})


def _plot(document: Mapping[str, Any], front: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the plot's script reads: objectives that are known of some fabric, and every fabric's values."""
    fabrics = document["fabrics"]
    names, slugs = display_names(fabrics), file_slugs(fabrics)
    faces = {face["given"]: face for face in front}
    tied = {name for group in document["ties"] for name in group}
    points = []
    for name, fabric in fabrics.items():
        face = faces.get(name)
        points.append(
            {
                "name": names[name],
                "slug": slugs[name],
                "arrangement": printable(fabric["arrangement"]),
                "state": fabric["state"],
                "note": _note(names, fabric),
                "tied": name in tied,
                "chosen": bool(face and face["is_chosen"]),
                "colour": face["colour"] if face else None,
                "shape": face["shape"] if face else SHAPES[0],
                "values": {objective: value_at(fabric, path) for objective, path in VALUES.items()},
            }
        )
    known = [name for name in OBJECTIVES if any(point["values"][name] is not None for point in points)]
    asked = [name for name in document["objectives"] if name in known]
    first = [*asked, *(name for name in known if name not in asked)]
    return {
        "objectives": [
            {"key": key, "label": OBJECTIVES[key].label, "unit": OBJECTIVES[key].unit, "better": OBJECTIVES[key].better}
            for key in known
        ],
        "axes": first[:2] if len(first) > 1 else first * 2,
        "fabrics": points,
    }


def _note(names: Mapping[str, str], fabric: Mapping[str, Any]) -> str:
    if fabric["beaten_by"]:
        return f"beaten by {names[fabric['beaten_by']]}"
    return printable(fabric["refused"]) if fabric["refused"] else ""


def _row(measure: Any, fabrics: Mapping[str, Any], front: list[str]) -> dict[str, Any]:
    values = [measure.value(fabrics[name]) for name in front]
    cells = [(value, measure.text(value)) for value in values]
    return {"label": measure.label, "unit": measure.unit, "definition": measure.definition, "cells": cells}


def _bill(fabrics: Mapping[str, Any], front: list[str]) -> list[dict[str, Any]]:
    """Return a row for every position of any bill, with each fabric's pieces and price."""
    rows: dict[str, dict[str, Any]] = {}
    for name in front:
        for line in fabrics[name]["cost"]["bill"]["lines"]:
            row = rows.setdefault(line["item"], {"item": line["item"], "unit_usd": line["unit_usd"], "cells": {}})
            row["cells"][name] = line
    order = sorted(
        rows.values(), key=lambda row: _PARTS.index(row["item"].split()[0]) if row["item"].split()[0] in _PARTS else 9
    )
    return [{**row, "cells": [row["cells"].get(name) for name in front]} for row in order]


#: First words of a bill's positions, in the order in which a bill has them.
_PARTS = ("switch", "link", "transceiver", "NIC", "cable,", "splitter")


def _totals(fabrics: Mapping[str, Any], front: list[str]) -> list[tuple[str, list[float | None]]]:
    bills = [fabrics[name]["cost"]["bill"] for name in front]
    return [
        ("Switches and switch-side optics", [bill["total_usd"] for bill in bills]),
        ("with NIC-side optics", [bill["with_nic_side"]["total_usd"] for bill in bills]),
        ("with NIC-side optics and NICs", [bill["with_nics"]["total_usd"] for bill in bills]),
    ]


def _other(names: Mapping[str, str], name: str, fabric: Mapping[str, Any]) -> dict[str, Any]:
    measures = [measure for rows in SECTIONS.values() for measure in rows if measure.objective in _TOLD]
    cells = [(value, measure.text(value)) for measure in measures for value in [measure.value(fabric)]]
    return {"name": names[name], "state": fabric["state"], "note": _note(names, fabric), "cells": cells}


#: Objectives that are told of fabrics that are not on the front.
_TOLD = ("capital_usd", "switches", "bisection", "random_share", "worst_share", "kv_funnel", "share_after_failure")


def _unbuildable(one: Mapping[str, Any]) -> dict[str, str]:
    near = " or ".join(_change(change) for change in one["nearest_demands"])
    keys = ("arrangement", "switch", "binding", "arithmetic")
    return {**{key: printable(str(one[key])) for key in keys}, "nearest": near}


def _change(change: Mapping[str, Any]) -> str:
    """Return a change of the demand in words."""
    keys = {key: value for key, value in change.items() if key not in ("family", "arrangement", "fabric")}
    whose = change.get("fabric") or change.get("arrangement")
    return printable(", ".join(f"{key} = {value}" for key, value in keys.items()) + (f" ({whose})" if whose else ""))
