"""Every picture of a comparison: those that each has, its variations', and congestion trees where switches paused ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zcube.report import plots
from zcube.report.names import display_names, file_slugs
from zcube.report.packet_tree_picture import plot_congestion_trees
from zcube.report.picture import conditions
from zcube.report.tree_files import trees_of
from zcube.report.variations_plot import variation_figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zcube.comparison import Comparison


def comparison_figures(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Draw a comparison's pictures one after the other, each with the name of its file, ending left out."""
    for name, draw in plots.FIGURES.items():
        yield name, draw(comparison)
    yield from variation_figures(comparison)
    names, slugs = display_names(comparison.results), file_slugs(comparison.results)
    for fabric, result in comparison.results.items():
        trees = () if result.packets is None else trees_of(result)
        if trees:
            under = f"{names[fabric]}: {conditions(comparison)}"
            yield tree_picture_name(slugs[fabric]), plot_congestion_trees(trees, under)


def tree_picture_name(slug: str) -> str:
    """Return the name of the picture of a fabric's congestion trees."""
    return f"congestion_trees-{slug}"
