"""Experts and copies over GPUs: DeepSeek's load balancer on its own example, its bounds by hand, and what experts then take."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.expert_placement import POWER_LAWS, Placed, balanced, placed
from zcube.llm.experts import expert_layer_s

DEEPSEEK, H800 = load_card("deepseek-v3"), load_device("h800")


@pytest.mark.parametrize(
    ("load", "gpus"),
    [
        # deepseek-ai/EPLB, README: loads of two layers, and the experts of each GPU under the hierarchical policy.
        (
            [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
            [{5, 6}, {5, 7}, {8, 4}, {3, 4}, {10, 9}, {10, 2}, {0, 1}, {11, 1}],
        ),
        (
            [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
            [{7, 10}, {6, 8}, {6, 11}, {8, 9}, {2, 4}, {5, 1}, {5, 0}, {3, 1}],
        ),
    ],
)
def test_the_balancer_places_its_published_example_as_published(load, gpus):
    found = balanced(np.array(load, dtype=float), 16, groups=4, nodes=2, gpus=8)
    assert [set(found.expert[found.gpu == gpu].tolist()) for gpu in range(8)] == gpus


def test_where_nodes_do_not_divide_the_groups_all_gpus_are_one_pack():
    load = np.array([8.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    # Three nodes of a GPU, two groups: the copies of expert 0 take a third of 8 each, one on every GPU.
    found = balanced(load, 9, groups=2, nodes=3, gpus=3)
    assert np.bincount(found.expert).tolist() == [4, 1, 1, 1, 1, 1]
    assert np.bincount(found.gpu).tolist() == [3, 3, 3]
    held = np.bincount(found.gpu, (load / np.bincount(found.expert))[found.expert])
    assert held.max() <= 5.0


def test_even_loads_stay_as_even_as_whole_slots_allow():
    # Nine slots a GPU hold eight experts' load everywhere; two hold at most two experts' where the mean is 256 / 144.
    assert placed(DEEPSEEK, "balanced", 32, 4, 32, 1e5) == Placed(9.0, pytest.approx(1.0))
    assert placed(DEEPSEEK, "balanced", 32, 18, 144, 1e4) == Placed(2.0, pytest.approx(2 / (256 / 144)))


@pytest.mark.parametrize("balance", POWER_LAWS)
def test_copies_and_room_to_place_them_even_loads_out(balance):
    figures = H800.experts["deepep_low_latency"].balance[balance]
    in_order = 1.0 + figures.straggler * 63**figures.growth
    found = [placed(DEEPSEEK, balance, copies, 8, 64, 8192).imbalance for copies in (0, 64, 256)]
    assert in_order > found[0] > found[1] > found[2] >= 1.0


def test_no_gpu_has_less_than_the_mean_or_more_than_everything():
    for copies, nodes in ((0, 4), (32, 4), (32, 18), (0, 32)):
        imbalance = placed(DEEPSEEK, "power_law_1.2", copies, nodes, 8 * nodes, 8192).imbalance
        assert 1.0 <= imbalance <= 8 * nodes / DEEPSEEK.experts_per_token * 2


def test_experts_take_what_their_imbalance_says():
    figures = H800.experts["deepep_low_latency"]
    balance = figures.balance["power_law_1.01"]
    measured = 1.0 + balance.straggler * 127**balance.growth
    sizes = DEEPSEEK, figures, balance, 8192.0, 1, 128, 512.0
    assert expert_layer_s(*sizes, Placed(2.0, measured)) == expert_layer_s(*sizes)
    # At the floor of what is even: FLOPs of the mean.
    assert expert_layer_s(*sizes, Placed(2.0, 1.0)) < expert_layer_s(*sizes, Placed(2.25, 1.0)) < expert_layer_s(*sizes)


def test_each_phase_has_copies_of_its_own():
    def times(**copies):
        engine = EngineLayout("dp8", "dp8", 4, 18, kv_dtype="bf16", moe_balance="power_law_1.01", **copies)
        node = roofline(DEEPSEEK, H800, engine)
        return node.prefill_iteration_s([8192] * 16, [0] * 16), float(node.decode_steps_s(np.full(18_432, 4_000), 1)[0])

    prefill_s, decode_s = times()
    assert times(prefill_redundant_experts=32)[0] < prefill_s and times(prefill_redundant_experts=32)[1] == decode_s
    assert times(decode_redundant_experts=32)[1] < decode_s and times(decode_redundant_experts=32)[0] == prefill_s


@pytest.mark.parametrize(
    ("card", "layout", "copies", "expected"),
    [
        ("deepseek-v3", "dp8", 31, "a number that makes 256 experts a multiple of 144 GPUs"),
        ("llama-3.1-405b", "dp8", 32, "no experts"),
    ],
)
def test_copies_that_cannot_be_placed_are_refused_by_name(card, layout, copies, expected):
    engine = EngineLayout(layout, layout, 4, 18, kv_dtype="bf16", decode_redundant_experts=copies)
    with pytest.raises(InputError, match=r"decode\.redundant_experts") as caught:
        roofline(load_card(card), H800, engine)
    assert expected in caught.value.faults[-1].expected
    with pytest.raises(InputError, match="every GPU holds a part of each expert"):
        roofline(DEEPSEEK, H800, EngineLayout("tp8", "tp8", kv_dtype="bf16", prefill_redundant_experts=32))


def test_a_gpu_holds_no_expert_twice_by_more_copies_than_there_are_gpus():
    # 256 experts on eight GPUs: 7 * 256 copies give each all of them, evenly to what a load in 1,792 steps allows.
    everywhere = placed(DEEPSEEK, "power_law_1.2", 7 * 256, 1, 8, 64)
    assert everywhere.slots == 256
    assert everywhere.imbalance == pytest.approx(1.0, abs=1e-3)
    engine = EngineLayout("dp8", "dp8", decode_ep_nodes=2, decode_redundant_experts=15 * 256 + 16)
    with pytest.raises(InputError, match=r"decode\.redundant_experts: found 3856; expected at most 3840"):
        roofline(DEEPSEEK, H800, engine)
