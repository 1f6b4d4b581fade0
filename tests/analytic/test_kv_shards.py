"""Caches by kind of layer and head: who sends which heads, and what windows and states add to the last push."""

import numpy as np
import pytest
from serving_by_hand import ConstantTimes, fabric_of, settings_of, trace_of

from zcube.llm.cards import card_names, load_card
from zcube.llm.kv import KvLayout, bytes_per_token, cache_parts, kv_bytes, room_tokens, state_bytes
from zcube.llm.rankmap import rank_map, resolve_rank_map
from zcube.llm.schedules.kv_plans import KvPushes, kv_plan
from zcube.llm.schedules.kv_shards import unit_sends
from zcube.network.flow_model import ideal_model
from zcube.serving.run import serve

QWEN, GPT, SHARED, LINEAR = (load_card(name) for name in ("qwen3-235b-a22b", "gpt-oss-120b", "glm-5.2", "qwen3.5-397b-a17b"))
FP8 = KvLayout("fp8")


def sends(card, ranks, source=0, target=0):
    found = unit_sends(ranks, cache_parts(card, FP8), source, target)
    return {(send.source_rank, send.target_rank): send.units for send in found}


def test_equal_slices_go_from_gpu_to_gpu_and_fewer_heads_than_gpus_go_twice():
    """Qwen3-235B has 4 heads of keys and values: under TP8 each is on two GPUs, and each GPU sends its own."""
    found = sends(QWEN, rank_map("tp8-tp8"))
    assert found == {(gpu, gpu): (94,) for gpu in range(8)}


def test_heads_gather_from_their_holders():
    assert sends(QWEN, rank_map("tp8-dp8"), target=5) == {(gpu, 5): (94,) for gpu in (0, 2, 4, 6)}
    assert sends(load_card("glm-4.6"), rank_map("tp8-dp8"), target=5) == {(gpu, 5): (92,) for gpu in range(8)}


def test_one_holder_deals_its_heads_out():
    found = sends(QWEN, rank_map("dp8-tp8"), source=3)
    assert found == {(3, gpu): (94,) for gpu in range(8)}
    assert sends(QWEN, resolve_rank_map(1, 2), source=3, target=1) == {(3, 2): (188,), (3, 3): (188,)}


def test_a_wider_decode_takes_heads_from_the_narrower_prefill():
    found = sends(load_card("llama-3.1-405b"), resolve_rank_map(4, 8))
    assert found == {(gpu // 2, gpu): (126,) for gpu in range(8)}


def test_a_layer_split_sends_every_layers_heads_once():
    found = sends(QWEN, rank_map("cp8-layersplit-dp8", 94), target=2)
    assert sum(units[0] for units in found.values()) == 94 * 4
    assert set(found) == {(gpu, 2) for gpu in range(8)}
    to_slices = sends(QWEN, resolve_rank_map(1, 8, prefill_cp=8, layer_split=True, layers=94))
    assert {
        target: sum(units[0] for (_, to), units in to_slices.items() if to == target) for target in range(8)
    } == dict.fromkeys(range(8), 94)


def test_latents_go_whole_to_every_gpu_and_keys_only_of_layers_with_an_indexer():
    assert sends(SHARED, rank_map("tp8-tp8")) == {(gpu, gpu): (21, 57) for gpu in range(8)}
    parts = cache_parts(SHARED, KvLayout("fp8", with_mtp_layer=True))
    assert [(part.layers, part.row_bytes, part.index_bytes) for part in parts] == [(22, 656, 132), (57, 656, 0)]


@pytest.mark.parametrize("name", card_names())
@pytest.mark.parametrize("dtype", ["fp8", "bf16"])
def test_pushes_of_a_prompt_add_up_to_the_cache(name, dtype):
    """Chunk after chunk, in whole pages: the bytes of one copy are those that the cache keeps."""
    card, layout, tokens = load_card(name), KvLayout(dtype), 64 * 500
    for ends in ([tokens], [8192, 16384, 24576, tokens]):
        plan = kv_plan(card, "mooncake-push", rank_map("dp8-dp8"), ends, layout)
        assert plan.size_bytes == kv_bytes(card, tokens, layout)


def test_windows_and_states_go_with_the_last_push_alone():
    for card, last in ((GPT, 18 * 8 * 128 * 128), (LINEAR, state_bytes(LINEAR))):
        pushes = KvPushes(card, "mooncake-push", rank_map("dp8-dp8"), FP8)
        units = np.array([part.units for part in pushes.parts])
        first, end = pushes.ready(0, 8192, 16384), pushes.ready(8192, 16384, 16384)
        assert int(units @ pushes.unit_bytes(end)) - int(units @ pushes.unit_bytes(first)) == last
        assert pushes.unit_bytes(first)[1] == 0
        for number in range(2):
            assert sum(pushes.descriptors(end, number)) == pushes.unit_bytes(end)[number]


def test_a_state_does_not_grow_with_the_prompt():
    sizes = [kv_plan(LINEAR, "after-prefill", rank_map("dp8-dp8"), [tokens], FP8).size_bytes for tokens in (6400, 12800)]
    assert 2 * sizes[0] - sizes[1] == state_bytes(LINEAR)


def test_a_window_that_begins_within_a_page_goes_from_that_page_on():
    pushes = KvPushes(GPT, "after-prefill", rank_map("dp8-dp8"), FP8)
    push = pushes.ready(0, 1000, 1000)
    # Tokens 872 to 1000 lie on the pages that begin at 832, 896 and 960.
    assert pushes.unit_bytes(push)[1] == 3 * 64 * 128
    assert sum(pushes.descriptors(push, 1)) == 3 * 64 * 128


@pytest.mark.parametrize("name", card_names())
def test_memory_of_a_request_is_told_in_tokens_that_every_layer_keeps(name):
    card, lengths = load_card(name), np.array([0, 64, 6400, 64_000])
    room, row = room_tokens(card, lengths, FP8), bytes_per_token(card, FP8)
    assert (room * row >= kv_bytes(card, lengths, FP8)).all()
    assert ((room - 1) * row < kv_bytes(card, lengths, FP8))[1:].all()
    if not (card.window_layers or card.linear_layers):
        assert room.tolist() == lengths.tolist()


def test_gpus_that_hold_states_alone_push_once_and_never_nothing():
    """Under TP8 two GPUs push the two heads after every chunk, the other six their states with the last push."""
    fabric, card = fabric_of("roft-256"), load_card("qwen3.5-397b-a17b")
    asked = settings_of(prefill={"layout": "tp8", "chunk_tokens": 512}, kv={"rank_map": "tp8-dp8"})
    run = serve(fabric, ideal_model(fabric), trace_of([0.0], [1536], [2]), asked, card, ConstantTimes())
    pushes = [run.flows.size_bytes[run.flows.source == gpu].tolist() for gpu in range(8)]
    heads, states = cache_parts(card, asked.engine().kv)
    state = states.layers * 2 * states.state_bytes
    row = heads.layers * 512 * heads.row_bytes
    assert pushes == [[row, row, row + state] if gpu in (0, 4) else [state] for gpu in range(8)]


def test_plans_of_a_pair_that_has_states_alone_begin_with_the_last_chunk():
    plan = kv_plan(LINEAR, "mooncake-push", rank_map("tp8-dp8"), [512, 1024], FP8)
    assert [transfer.chunk for transfer in plan.transfers if transfer.source_rank == 1] == [1]
    assert all(transfer.size_bytes for transfer in plan.transfers)
