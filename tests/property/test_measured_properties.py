"""What holds of the interpolating compute model for any pieces, batches and grids."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.tables.grid import RatioGrid
from zcube.llm.tables.grids import equal_pieces
from zcube.llm.tables.model import measured

POINT = st.tuples(st.integers(0, 6), st.integers(0, 6), st.floats(0.1, 10))
PIECE = st.tuples(st.integers(1, 16384), st.integers(0, 400_000))


@given(st.lists(POINT, min_size=1, max_size=20), st.floats(0, 10), st.floats(0, 10))
def test_grid_never_leaves_the_range_of_its_ratios(points, first, last):
    table = np.array(points, dtype=float)
    found = RatioGrid(table[:, :2], table[:, 2]).at(first, last)
    assert table[:, 2].min() * (1 - 1e-9) <= found <= table[:, 2].max() * (1 + 1e-9)


@given(st.lists(PIECE, min_size=1, max_size=40), st.randoms())
def test_standing_pieces_are_possible_and_do_not_depend_on_order(pieces, random):
    shuffled = random.sample(pieces, len(pieces))
    for layout in ("tp8", "cp8", "dp8"):
        found, again = (equal_pieces(layout, *np.array(order).T) for order in (pieces, shuffled))
        assert found == pytest.approx(again)
        tokens, count, prefix = found
        assert tokens * (1 if layout == "tp8" else 8) == pytest.approx(sum(new for new, _ in pieces))
        assert 1 - 1e-9 <= count <= len(pieces) * (1 + 1e-9)
        assert 0 <= prefix <= 400_000 + 16384


@pytest.fixture(scope="module")
def nodes(shared_data):
    def pair(prefill, decode):
        card, device = load_card("glm-5.1"), load_device("h200")
        engine = EngineLayout(prefill, decode)
        return measured(card, device, engine, shared_data / "aiconfigurator-glm5"), roofline(card, device, engine)

    return [pair(*layouts) for layouts in (("tp8", "tp8"), ("cp8", "dp8"), ("dp8", "dp8"))]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECE, min_size=1, max_size=12))
def test_iterations_stay_near_the_roofline(nodes, pieces):
    # The roofline's largest error on any point of these tables bounds how far interpolation can take it.
    new, prefix = np.array(pieces).T
    for node, line in nodes:
        assert 0.5 < node.prefill_iteration_s(new, prefix) / line.prefill_iteration_s(new, prefix) < 2


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=60), st.integers(1, 40))
def test_steps_taken_together_or_one_by_one(nodes, contexts, steps):
    start = np.array(contexts)
    for node, line in nodes:
        together = node.decode_steps_s(start, steps)
        assert together[-1] == pytest.approx(node.decode_steps_s(start + steps - 1, 1)[0], rel=1e-9)
        assert np.all((together > 0.5 * line.decode_steps_s(start, steps)) & (together < 2 * line.decode_steps_s(start, steps)))
