"""The picture of load over time: how full the fullest link out of each switch was, bin of time by bin, a panel a fabric."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from zcube.report.palette import LOAD
from zcube.report.picture import picture_text, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

    from zcube.report.picture import Draws

#: Names of switches beside a panel at most.
_TICKS = 24


def load_draws(loads: Mapping[str, pd.DataFrame], under: str) -> Draws:
    """Return what draws loads of switches over time, by the name of its file; empty where no fabric has any, as an ideal core.

    Parameters
    ----------
    loads : mapping
        By the fabric's name shown: load over time, as in ``load-<fabric>.parquet``.
    under : str
        The conditions.
    """
    found = {name: load[load["of"] == "switch"] for name, load in loads.items()}
    found = {name: load for name, load in found.items() if len(load)}
    return {"load_over_time": partial(_plot, found, under)} if found else {}


def _plot(loads: Mapping[str, pd.DataFrame], under: str) -> Figure:
    """Draw all on one scale, from 0 to 100 % of the line rate whatever the fullest was."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 1.2 + 2.9 * len(loads)), layout="constrained")
    panels = figure.subplots(len(loads), 1, squeeze=False)[:, 0]
    for axes, (name, load) in zip(panels, loads.items(), strict=True):
        image = _panel(axes, load)
        axes.set_title(picture_text(name), fontsize=9)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.85, pad=0.015)
    bar.set_label("fullest link out of a switch (% of line rate)")
    panels[-1].set_xlabel("time of the run (s)")
    title(figure, "How full switches were over time", under)
    return figure


def _panel(axes: Axes, load: pd.DataFrame) -> QuadMesh:
    """Draw one fabric: a row a switch, bins as wide as they are long."""
    from matplotlib.colors import LinearSegmentedColormap

    begins_s, ends_s = np.unique(load["bin_start_s"].to_numpy()), load["bin_end_s"].max()
    names = load["name"].to_numpy()[: len(load) // len(begins_s)]
    percent = 100 * load["fullest_link_utilisation"].to_numpy().reshape(len(begins_s), len(names)).T
    edges_s, rows = np.append(begins_s, ends_s), np.arange(len(names) + 1) - 0.5
    shades = LinearSegmentedColormap.from_list("load", LOAD)
    image = axes.pcolormesh(edges_s, rows, percent, cmap=shades, vmin=0.0, vmax=100.0, rasterized=True)
    axes.set_xlim(edges_s[0], edges_s[-1])
    axes.set_ylim(len(names) - 0.5, -0.5)
    step = max(1, -(-len(names) // _TICKS))
    axes.set_yticks(range(0, len(names), step), [picture_text(str(name)) for name in names[::step]], fontsize=7)
    return image
