"""What all pictures share: conditions, safe text, saving. Only matplotlib's object interface, so no global state."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zcube.errors import Fault, InputError
from zcube.outputs import write_file
from zcube.report.names import printable
from zcube.report.palette import LINE, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.report.results import Results

#: What draws pictures, by the names of their files, endings left out.
Draws: TypeAlias = Mapping[str, "Callable[[], Figure]"]

DPI = 150
FORMATS = (".svg", ".png")
#: Who made a picture, in an SVG's metadata.
CREATOR = "zcube"

#: Ids of what a page says itself, in words, so that its picture leaves it out.
HEADLINE_ID, CONDITIONS_ID = "headline", "conditions"
#: What ids begin with, JSON behind it, of curves that a page's reader can follow, and of the axes that they stand in.
CURVE, REACH = "curve:", "reach:"

#: Characters of the conditions' line per inch of a picture's width.
_CHARACTERS_PER_INCH = 14


def picture_text(text: str) -> str:
    """Return text that matplotlib draws as it stands: no formulas between dollar signs, no hidden legend entries."""
    plain = printable(text).replace("$", r"\$")
    # matplotlib leaves a label that starts with an underscore out of the legend.
    return f" {plain}" if plain.startswith("_") else plain


def conditions(results: Results) -> str:
    """Return in one line under which conditions a comparison was made."""
    document, load = results.document, results.scenario["load"]
    requests = document["requests"]
    if load["mode"] == "closed":
        offered = f"closed loop, {load['concurrency']:,} under way"
    else:
        span_s = requests["duration_s"]
        offered = f"{requests['requests'] / span_s:.3g} requests/s" if span_s else "all at once"
    networks = [fabric["network"] for fabric in document["fabrics"].values()]
    fidelity = " and ".join(dict.fromkeys(network["fidelity"] for network in networks))
    gbps = dict.fromkeys(network["nic_gbps"] for network in networks)
    caps = ["line rate" if cap is None else f"{cap:g} Gb/s" for cap in gbps]
    cap = "" if caps == ["line rate"] else f", NICs capped at {' and '.join(caps)}"
    return (
        f"{document['compute']['model']}; {requests['requests']:,} requests, {offered}{cap}; "
        f"fidelity {fidelity}, seed {document['seed']}"
    )


def title(figure: Figure, headline: str, under: str) -> None:
    """Write what a picture shows and, smaller, under which conditions."""
    width = round(_CHARACTERS_PER_INCH * float(figure.get_figwidth()))
    small = picture_text(under)
    figure.suptitle(headline, fontsize=12, fontweight="bold").set_gid(HEADLINE_ID)
    figure.supxlabel("\n".join(textwrap.wrap(small, width)), fontsize=8, color=SOFT).set_gid(CONDITIONS_ID)


def plain(axes: Axes) -> None:
    """Give axes no box, and lines only across."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)


def check_format(path: Path) -> str:
    """Return the format a picture's name asks for.

    Raises
    ------
    InputError
        If the name ends neither in ``.svg`` nor in ``.png``.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(Fault(str(path), f"a name that ends in {suffix or 'nothing'}", "a name that ends in .svg or .png"))
    return suffix[1:]


def drawn(plot: Callable[[Any], Figure]) -> Callable[[Any, Path], None]:
    """Return what draws a result and saves the picture."""
    return lambda result, path: save(plot(result), path)


def is_own_svg(path: Path) -> bool:
    """Return whether a file is an SVG that :func:`save` wrote."""
    with path.open("rb") as handle:
        return f"<dc:title>{CREATOR}</dc:title>".encode() in handle.read(4096)


def save(figure: Figure, path: Path) -> None:
    """Write a picture as its name asks for, through a temporary name.

    In an SVG all text stays text, and equal pictures give equal files.

    Raises
    ------
    InputError
        As :func:`check_format`.
    """
    form = check_format(path)
    write_file(path, lambda temporary: _write(figure, temporary, form))


def save_both(figure: Figure, folder: Path, name: str) -> bytes:
    """Write a picture into a folder as SVG and as PNG, and return the former."""
    save(figure, folder / f"{name}.svg")
    save(figure, folder / f"{name}.png")
    return saved_svg(folder, name)


def saved_svg(folder: Path, name: str) -> bytes:
    """Return the SVG that :func:`save_both` wrote."""
    return (folder / f"{name}.svg").read_bytes()


def svg_bytes(figure: Figure) -> bytes:
    """Return a picture as the SVG that :func:`save` writes."""
    held = io.BytesIO()
    _write(figure, held, "svg")
    return held.getvalue()


def _write(figure: Figure, target: Any, form: str) -> None:
    from matplotlib import rc_context

    metadata = {"Date": None, "Creator": CREATOR} if form == "svg" else None
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "zcube"}):
        _lay_out(figure)
        figure.savefig(target, dpi=DPI, format=form, facecolor="white", metadata=metadata)


def _lay_out(figure: Figure) -> None:
    """Put what a figure shows into its places once and for all.

    A layout takes as long as drawing, and a figure that has an engine for it is drawn twice each time that it is saved.
    """
    from matplotlib import rc_context

    engine = figure.get_layout_engine()
    if engine is not None:
        # As text is measured where it is drawn, whatever resolution a user's settings of matplotlib give to a new figure.
        dpi, figure.dpi = figure.dpi, DPI
        try:
            engine.execute(figure)
        finally:
            figure.dpi = dpi
    # Not one that does nothing, with which the figure would still be drawn twice.
    with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
