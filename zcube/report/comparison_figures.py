"""Every picture of a comparison: those that each has, its variations', and congestion trees where switches paused ports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from zcube.report import plots
from zcube.report.packet_tree_picture import plot_congestion_trees
from zcube.report.picture import conditions
from zcube.report.searches_plot import search_draws
from zcube.report.variations_plot import variation_draws

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zcube.report.picture import Draws
    from zcube.report.results import Results


def comparison_draws(results: Results) -> Draws:
    """Return what draws each of a comparison's pictures, by the name of its file, ending left out."""
    draws: dict[str, Callable[[], Figure]] = {name: partial(draw, results) for name, draw in plots.FIGURES.items()}
    draws |= search_draws(results)
    draws |= variation_draws(results)
    for fabric, trees in results.trees.items():
        under = f"{results.names[fabric]}: {conditions(results)}"
        draws[tree_picture_name(results.slugs[fabric])] = partial(plot_congestion_trees, trees, under)
    return draws


def tree_picture_name(slug: str) -> str:
    """Return the name of the picture of a fabric's congestion trees."""
    return f"congestion_trees-{slug}"
