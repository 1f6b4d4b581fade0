"""Every picture of a comparison: those that each has, its variations', and congestion trees where switches paused ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zcube.report import plots
from zcube.report.packet_tree_picture import plot_congestion_trees
from zcube.report.picture import conditions
from zcube.report.searches_plot import search_figures
from zcube.report.variations_plot import variation_figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zcube.report.results import Results


def comparison_figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw a comparison's pictures one after the other, each with the name of its file, ending left out."""
    for name, draw in plots.FIGURES.items():
        yield name, draw(results)
    yield from search_figures(results)
    yield from variation_figures(results)
    for fabric, trees in results.trees.items():
        under = f"{results.names[fabric]}: {conditions(results)}"
        yield tree_picture_name(results.slugs[fabric]), plot_congestion_trees(trees, under)


def tree_picture_name(slug: str) -> str:
    """Return the name of the picture of a fabric's congestion trees."""
    return f"congestion_trees-{slug}"
