"""The picture of load over time: a cell a switch and bin, as wide as the bin is long, on a scale from 0 to 100 %."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest

from zcube.report.load_over_time import load_draws


def test_cells_are_the_fullest_links_of_switches_by_bin():
    edges_s = [1.0, 2.0, 4.0, 8.0]
    rows = [
        {"of": of, "name": name, "bin_start_s": begin, "bin_end_s": end, "fullest_link_utilisation": share}
        for bin_, (begin, end) in enumerate(pairwise(edges_s))
        for of, name, share in [("switch", "A0", 0.1 * bin_), ("switch", "B0", 1.0), ("link", "s0g0>A0", 0.7)]
    ]
    figure = load_draws({"one": pd.DataFrame(rows), "ideal": pd.DataFrame(rows[2::3])}, "under")["load_over_time"]()
    (panel, *others) = [axes for axes in figure.axes if axes.get_title()]
    (image,) = panel.collections
    assert others == [] and image.get_clim() == (0.0, 100.0)
    assert image.get_array().tolist() == [pytest.approx([0.0, 10.0, 20.0]), [100.0] * 3]
    assert image.get_coordinates()[0, :, 0].tolist() == edges_s
    assert panel.get_xlim() == (1.0, 8.0)
    assert [label.get_text() for label in panel.get_yticklabels()] == ["A0", "B0"]
    assert load_draws({"ideal": pd.DataFrame(rows[2::3])}, "under") == {}
