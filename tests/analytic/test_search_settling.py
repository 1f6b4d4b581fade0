"""Whether a search has settled, by hypervolumes worked out by hand."""

from __future__ import annotations

import pytest

from zcube.plan.objectives import OBJECTIVES
from zcube.plan.search.settling import settling
from zcube.plan.search.state import Found

pytest.importorskip("pymoo", reason="pymoo is not installed: pip install 'zcube[search]'")

CRITERIA = (OBJECTIVES["capital_usd"], OBJECTIVES["bisection"])


def found(*values, lacking=0.0):
    return [Found(graph="0" * 16, genome=(0,), lacking=lacking, values=one) for one in values]


def test_the_hypervolume_is_the_part_of_the_box_that_is_beaten():
    """The last front, scaled, is (0, 1), (1, 0), (0.5, 0.25): 0.1 + 0.1 - 0.01 beside the middle one's 0.6 x 0.85, of 1.21."""
    graphs = found((200.0, 1.0), (100.0, 0.5), (150.0, 0.875))
    document = settling(graphs, [1, 2, 3], CRITERIA)
    parts = [one["part"] for one in document["hypervolume"]]
    whole = 0.6 * 0.85 + 0.1 * (1.1 - 0.6) + 0.1 * (1.1 - 0.85)
    two = 0.1 * 1.1 + 0.1 * 1.1 - 0.01
    assert parts == pytest.approx([0.1 * 1.1 / 1.21, two / 1.21, whole / 1.21])
    assert document["verdict"] == "too few generations to tell"


@pytest.mark.parametrize(("late", "verdict"), [(False, "settled"), (True, "still improving")])
def test_a_front_that_moved_in_the_last_quarter_is_still_improving(late, verdict):
    graphs = found((200.0, 1.0), (100.0, 0.5), (150.0, 0.875))
    document = settling(graphs, [*[2] * 31, *[2 if late else 3] * 9, 3] if late else [2, *[3] * 40], CRITERIA)
    assert (document["verdict"], document["since_generation"]) == (verdict, 30)
    assert verdict in document["words"]


def test_where_nothing_meets_the_demand_nothing_is_claimed():
    document = settling(found((1.0, 1.0), lacking=1.0), [1, 1], CRITERIA)
    assert (document["hypervolume"], document["verdict"]) == (None, "not known")
