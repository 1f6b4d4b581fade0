"""Rank maps against the table that follows from SGLang's rule, and the rule's cases for other sizes."""

import pytest

from zcube.errors import InputError
from zcube.llm.rankmap import Send, layer_counts, rank_map, rank_map_names, resolve_rank_map

ALL = tuple(range(8))

# name -> (copies on the wire, source rails, destination rails) for prefill rank 2 and decode rank 5
ROWS = {
    "tp8-tp8": (8, ALL, ALL),
    "tp8-dp8": (1, (0,), (5,)),
    "dp8-dp8": (1, (2,), (5,)),
    "dp8-tp8": (8, (2,), ALL),
    "cp8-dp8": (1, (0,), (5,)),
    "cp8-layersplit-dp8": (1, ALL, (5,)),
    "tp8-tilert": (1, (0,), (0,)),
}


def test_every_named_map_has_a_row():
    assert rank_map_names() == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_row(name):
    copies, sources, targets = ROWS[name]
    sends = rank_map(name).sends(2, 5)
    assert sum(send.fraction for send in sends) == pytest.approx(copies)
    assert tuple(sorted({send.source_rank for send in sends})) == sources
    assert tuple(sorted({send.target_rank for send in sends})) == targets


def test_equal_tp_stays_on_its_rail():
    assert all(send.source_rank == send.target_rank for send in rank_map("tp8-tp8").sends())


@pytest.mark.parametrize(
    ("layers", "counts"), [(78, (10,) * 6 + (9,) * 2), (79, (10,) * 7 + (9,)), (3, (1, 1, 1, 0, 0, 0, 0, 0))]
)
def test_layer_split_sends_whole_layers(layers, counts):
    assert layer_counts(layers, 8) == counts
    sends = rank_map("cp8-layersplit-dp8", layers).sends(0, 3)
    assert {send.source_rank: round(send.fraction * layers) for send in sends} == {
        rank: count for rank, count in enumerate(counts) if count
    }


def test_larger_decode_fans_out():
    # P = 2, D = 8: each sender of the group serves four decode ranks.
    pairs = [(send.source_rank, send.target_rank) for send in resolve_rank_map(2, 8).sends(3, 0)]
    assert pairs == [(6, 0), (6, 1), (6, 2), (6, 3), (7, 4), (7, 5), (7, 6), (7, 7)]


def test_smaller_decode_takes_the_first_of_each_run():
    # P = 8, D = 2: decode ranks pair with [0, 4) and [4, 8); only the first of each sends.
    assert resolve_rank_map(8, 2).sends(0, 3) == (Send(0, 6, 1.0), Send(4, 7, 1.0))


def test_context_parallel_group_inside_a_data_parallel_node():
    assert resolve_rank_map(1, 1, prefill_cp=4).sends(1, 7) == (Send(4, 7, 1.0),)
    split = resolve_rank_map(2, 1, prefill_cp=4, layer_split=True, layers=8).sends(0, 7)
    assert [(send.source_rank, send.fraction) for send in split] == [(0, 0.25), (2, 0.25), (4, 0.25), (6, 0.25)]


def test_every_fault_of_a_layout_is_listed():
    with pytest.raises(InputError) as caught:
        resolve_rank_map(3, 16, layer_split=True, layers=0)
    assert [fault.where for fault in caught.value.faults] == ["prefill_tp", "decode_tp", "layers", "layer_split"]
    with pytest.raises(InputError, match="a divisor of 8"):
        resolve_rank_map(4, 1, prefill_cp=4)


def test_unknown_name_and_rank():
    with pytest.raises(InputError, match="tp8-tilert"):
        rank_map("tp9")
    with pytest.raises(ValueError, match="target_rank 8"):
        rank_map("dp8-dp8").sends(0, 8)
