"""The one-file page: a comparison for readers who have only a browser. Nothing is fetched."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from zcube import __version__
from zcube.report.band_lines import band_lines
from zcube.report.bill_table import side_by_side
from zcube.report.calibration_lines import measured_lines
from zcube.report.comparison_figures import tree_picture_name
from zcube.report.conditions_table import condition_groups
from zcube.report.cost_lines import cost_lines
from zcube.report.definitions import Entry, definition_entries, entry_key
from zcube.report.headline_table import headline_table
from zcube.report.inline_svg import inline_svg
from zcube.report.microscope_lines import NOTE, remarks, window_cells
from zcube.report.names import display_names, file_slugs, printable
from zcube.report.packet_table import paused_longest, port_cells
from zcube.report.page import Section, render_page
from zcube.report.palette import fabric_colours
from zcube.report.part_colours import looks_of, parts_shown
from zcube.report.request_lines import request_lines
from zcube.report.searches_plot import search_cells
from zcube.report.seed_lines import seed_lines
from zcube.report.variations_table import SENSITIVITY_NOTE, SWEEP_NOTE, notes, sensitivity_cells, sweep_cells
from zcube.report.waterfall import PANELS
from zcube.report.window_lines import section_title, window_lines
from zcube.serving.limiting_links import SENDING
from zcube.verdict.request_sets import marked, set_lines
from zcube.verdict.rows import ABSENT, Document, Row, counted, significant
from zcube.verdict.table import shown_rows

#: What the pictures show, by their names.
CAPTIONS = {
    "knee": "P99 time to first token at the loads that were searched, dotted on the ideal core; dashed: the knee found.",
    "capacity": "Requests that met every bound at the loads that were searched; dashed: the capacity that was found.",
    "sensitivity": "One parameter changed at a time: what then changes against the baseline. The figures stand below.",
    "sweep": "One key at several values: output throughput and times to first token. The figures stand below.",
    "ttft_cdf": "Time to first token: which part of the completed requests had its first token within a time. With a "
    "calibration, its band is shaded between P50 and P99.",
    "tpot_cdf": "Time per output token after the first: which part of the completed requests had at most this.",
    "kv_transfer_cdf": "KV transfer: which part of the completed requests had its KV cache within a time of its last push.",
    "ttft_parts": "What the time to first token consists of, part after part: of all requests, and of the slowest.",
    "link_load": "How full each link that leaves a switch was, as a percentage of its line rate over the window.",
    "cost": "What the fabrics cost: switches, optics in the switches, optics in the NICs.",
}

_LINK_CLASSES = {
    "nic_out": "out of the sender's NIC",
    "nic_in": "into the receiver's NIC",
    "switch": "between switches",
    "nvlink": "NVLink",
    "none": "no link: the connector's own rate",
}

#: What is shorter is what is left of adding and taking away, in seconds.
_TICK_S = 1e-12

_TREES = (
    "Congestion trees on {}: a congested port at the left, and to its right the ports that stood still because of it, link by "
    "link upstream."
)


def render_html(
    document: Document,
    scenario: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    call: Sequence[str] = (),
    sections: Sequence[Section] = (),
) -> str:
    """Return the page of a comparison.

    Everything that comes from data is escaped. Pictures stand in it, so that the page can be sent as one file.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    scenario : mapping
        The scenario as JSON-ready data, for the conditions.
    pictures : mapping
        SVG by name, as :func:`zcube.report.comparison_figures.comparison_draws` names them.
    call : sequence of str
        What was called, without the name of the program; empty where that is not known.
    sections : sequence of Section
        Parts of the page that other rooms make.

    Returns
    -------
    str
        HTML 5.
    """
    names, colours, slugs = (
        display_names(document["fabrics"]),
        fabric_colours(document["fabrics"]),
        file_slugs(document["fabrics"]),
    )
    of_seeds = _of_seeds(document)
    trees = {tree_picture_name(slugs[name]): _TREES.format(names[name]) for name in names}
    captions = {name: f"{text}{of_seeds.get(name, '')}" for name, text in CAPTIONS.items()} | trees
    fabrics = [_fabric(name, names[name], colours[name], slugs[name], document) for name in document["fabrics"]]
    said = document["verdict"]["sentences"]
    lead, cautions, *further = [[printable(sentence) for sentence in part] for part in said.values()]
    entries = definition_entries(document)
    return render_page(
        "report.html.j2",
        scripts=["curves.js"],
        sections=sections,
        fabrics=fabrics,
        lead=lead,
        cautions=cautions,
        further=[part for part in further if part],
        headline=headline_table(document, entries),
        call=printable(shlex.join(["zcube", *call])) if call else "",
        metrics=_metrics(document, entries),
        parts=_parts(document),
        microscope=document.get("microscope"),
        microscope_note=NOTE,
        pictures={name: _picture(name, caption, pictures[name]) for name, caption in captions.items() if name in pictures},
        trees=list(trees),
        of_seeds=of_seeds,
        variations=_variations(document, names),
        definitions=entries.values(),
        errors=_stated_errors(document),
        counting_rule=document["counting_rule"],
        bills=side_by_side(document),
        costs=[(name, printable(text)) for name, text in cost_lines(document, names)],
        compute=document["compute"]["model"],
        calibration=measured_lines(document),
        requests=[(name, printable(text)) for name, text in request_lines(document["requests"])],
        measured=[
            (name, printable(text))
            for lines in (set_lines, window_lines, seed_lines, band_lines)
            for name, text in lines(document, names)
        ],
        baseline=names[document["baseline"]],
        conditions=condition_groups(scenario),
        seed=document["seed"],
        version=__version__,
    )


def _of_seeds(document: Document) -> dict[str, str]:
    """Return of pictures and tables which seeds they are of, nothing of it under one seed."""
    seed, count = document["seed"], document["seeds"]
    curves = f" Curves, and the values beside their names: seed {seed} alone; the page's figures: means over {count} seeds."
    means, one = f" Means over {count} seeds.", f" Of seed {seed} alone."
    links = f" Kinds of links: means over {count} seeds; single links: seed {seed} alone."
    said = dict.fromkeys(("ttft_cdf", "tpot_cdf", "kv_transfer_cdf"), curves)
    said |= {"ttft_parts": means, "which_link": links, "link_load": one, "fullest": one}
    return said if count > 1 else dict.fromkeys(said, "")


def _picture(name: str, caption: str, svg: bytes) -> dict[str, Any]:
    return {"caption": caption, "svg": inline_svg(svg, name, caption), "alt": caption.split(":")[0]}


def _variations(document: Document, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return title, cells and notes of every table over loads or of variations."""
    found = [
        {"title": title, "key": key, "rows": search_cells(document[key], key, names), "words": 1, "notes": []}
        for title, key in (("Tails against load", "knee"), ("Service levels against load", "capacity"))
        if document.get(key)
    ]
    for title, key, cells_of, note, words in (
        ("Sensitivity", "sensitivity", sensitivity_cells, SENSITIVITY_NOTE, 3),
        ("Sweep", "sweep", sweep_cells, SWEEP_NOTE, 2),
    ):
        if document.get(key):
            cells = cells_of(document[key])
            said = notes(cells, note, document[key])
            found.append({"title": title, "key": key, "rows": cells, "words": words, "notes": said})
    return found


def _fabric(name: str, shown: str, colour: str, slug: str, document: Document) -> dict[str, Any]:
    fabric = document["fabrics"][name]
    return {
        "name": shown,
        "given": printable(name),
        "colour": colour,
        "slug": slug,
        "is_baseline": name == document["baseline"],
        "family": fabric["family"],
        "gpus": f"{fabric['gpus']:,}",
        "routing": fabric["routing"],
        "hot_links": [
            (link["from"], link["to"], significant(100 * link["utilisation"], 3)) for link in fabric["congestion"]["hot_links"]
        ],
        "paused_ports": _paused_ports(fabric),
        "limiting": _limiting(fabric),
        **_worst_windows(document, name),
    }


def _paused_ports(fabric: Document) -> list[list[str]] | None:
    """Return heads and rows of the ports paused longest, heads alone if there are none; None without packets."""
    return port_cells("Port", paused_longest(fabric["packet"]["ports"])) if "packet" in fabric else None


def _parts(document: Document) -> list[dict[str, Any]]:
    """Return the parts of times to first token that take any time: name, colour, and a fabric's means in milliseconds."""
    compositions = [fabric["ttft_parts_s"] for fabric in document["fabrics"].values()]
    looks = looks_of(list(compositions[0]["mean"]))
    return [
        {
            "name": looks[part][2],
            "colour": looks[part][0],
            "cells": [_milliseconds(one[of][part]) for one in compositions for of in PANELS],
        }
        for part in parts_shown([one[of] for one in compositions for of in PANELS])
    ]


def _milliseconds(seconds: float | None) -> str:
    return ABSENT if seconds is None else significant(1e3 * _told(seconds))


def _limiting(fabric: Document) -> list[list[list[str]]] | None:
    """Return classes of links and single links that bounded first tokens' transfers, as rows; None where none are known."""
    found = fabric["ttft_links"]
    if found is None:
        return None

    def cells(name: str, of: Document) -> list[str]:
        return [name, counted(of["requests"]), *(significant(_told(of[f"{part}_s"])) for part in SENDING)]

    classes = [cells(_LINK_CLASSES[name], of) for name, of in found["by_class"].items() if of["requests"]]
    links = [cells(f"{link['from']} > {link['to']}", link) for link in found["links"] if link["type1_s"] or link["type2_s"]]
    return [classes, links]


def _told(seconds: float) -> float:
    """Return seconds, what a clock of floats leaves of nothing as 0."""
    return 0.0 if abs(seconds) < _TICK_S else seconds


def _worst_windows(document: Document, name: str) -> dict[str, Any]:
    """Return heads and rows of a fabric's worst windows, and what is said of them; nothing where none were asked for."""
    if not document.get("microscope"):
        return {}
    found = document["microscope"]["fabrics"][name]
    return {"windows": window_cells(found), "window_remarks": [printable(line) for line in remarks(found)]}


def _metrics(document: Document, entries: Mapping[tuple[str, str, str], Entry]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the table by section: label, unit, where it is defined and one cell per fabric."""
    base = document["baseline"]
    sections: dict[str, list[dict[str, Any]]] = {}
    for row in shown_rows(document):
        cells = [_cell(row, fabric, document["fabrics"][base], name == base) for name, fabric in document["fabrics"].items()]
        title = section_title(row.section, document["fabrics"].values())
        line = {"label": row.label, "unit": row.unit, "entry": entries[entry_key(row)].entry, "cells": cells}
        sections.setdefault(title, []).append(line)
    return list(sections.items())


def _cell(row: Row, fabric: Document, base: Document, is_baseline: bool) -> dict[str, str]:
    change, better = row.against(fabric, base)
    return {
        "value": row.text(row.value(fabric)),
        "change": "" if is_baseline else marked(change, row, fabric),
        "mark": "" if better is None else "better" if better else "worse",
    }


def _stated_errors(document: Document) -> list[tuple[str, str, str, str, str, str]]:
    return [
        (
            operation.replace("_", " "),
            *(f"{100 * error[key]:.1f}" for key in ("median", "p90", "mape")),
            f"{error['points']:,}" if error["points"] else "unmeasured",
            error["against"],
        )
        for operation, error in document["compute"]["stated_error"].items()
    ]
