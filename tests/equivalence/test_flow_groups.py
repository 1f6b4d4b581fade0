"""Transfers posted ahead in groups, against the same sent at once and groups counted in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.network.flow_groups import FlowGroups
from zcube.network.flow_model import FlowModel, flow_model, ideal_model, run_flows
from zcube.network.fluid_posting import post
from zcube.network.fluid_state import LEAST_ROOM
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

FABRICS = {name: load_fabric(name) for name in ("roft-256", "zcube-256")}


def network(name: str, split: str) -> FlowModel:
    return flow_model(FABRICS[name], routing_for(FABRICS[name]), split)


def test_there_is_room_for_longer_paths_than_were_known_when_room_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("roft-256", "pooled")
    short, many = model.paths(np.array([0]), np.array([1])), 2 * LEAST_ROOM
    checked = []

    def with_room_checked(frame, known, path, *more):
        state, arrays = model._state, model._table.arrays
        subflows = arrays.first_subflow[path + 1] - arrays.first_subflow[path]
        hops = arrays.first_hop[arrays.first_subflow[path + 1]] - arrays.first_hop[arrays.first_subflow[path]]
        assert state.used[2] + subflows.sum() <= len(state.subflows) and state.used[3] + hops.sum() <= len(state.hops)
        checked.append(hops.max())
        return post(frame, known, path, *more)

    monkeypatch.setattr("zcube.network.flow_model.post", with_room_checked)
    group, size = model.open_group(), np.full(1, 1e6)
    # Nearly fills what there is at first, and leaves room for one transfer more, over as few links.
    for _ in range(many - 1):
        model.post(group, short, size, np.zeros(1), False)
    long = model.paths(np.array([3]), np.array([200]))
    for _ in range(many):
        model.post(group, long, size, np.zeros(1), False)
    assert checked[-1] > checked[0]


class Posts:
    """Groups of transfers between few GPUs, so that they share links; each group is posted in two parts."""

    def __init__(self, seed: int, groups: int):
        rng = stream(seed, "groups")
        self.at_s = np.sort(rng.uniform(0, 0.02 * groups, groups))
        self.rows = []
        for at_s in self.at_s:
            count = int(rng.integers(1, 6))
            source, target = rng.integers(0, 16, count), 64 + rng.integers(0, 16, count)
            start_s = at_s + np.sort(rng.choice((0.0, 0.01, 0.03), count))
            self.rows.append(
                (source, target, rng.integers(1, 10**9, count).astype(float), start_s, int(rng.integers(0, count)))
            )

    def table(self) -> FlowTable:
        source, target, size, start_s = (np.concatenate(column) for column in list(zip(*self.rows, strict=True))[:4])
        return FlowTable(source, target, size, start_s)


def drive(model: FlowModel, posts: Posts, looks_on: bool = False) -> dict[int, float]:
    """Post groups as their time comes and return when each was told of, looking at every bound or on to the next post."""
    told: dict[int, float] = {}
    number_of: dict[int, int] = {}
    waiting = list(enumerate(zip(posts.at_s.tolist(), posts.rows, strict=True)))
    while len(told) < len(posts.rows):
        wake_s = model.next_group_s()
        if waiting and waiting[0][1][0] <= wake_s:
            index, (at_s, (source, target, size, start_s, cut)) = waiting.pop(0)
            for group in model.advance_groups(at_s):
                told[number_of[group]] = at_s
            group = model.open_group()
            number_of[group] = index
            paths = model.paths(source, target)
            if cut:
                model.post(group, paths[:cut], size[:cut], start_s[:cut], False)
            model.post(group, paths[cut:], size[cut:], start_s[cut:], True)
        else:
            assert np.isfinite(wake_s), "groups wait and nothing is to arrive"
            unposted_s = waiting[0][1][0] if waiting else np.inf
            groups = model.advance_groups(wake_s, unposted_s) if looks_on else model.advance_groups(wake_s)
            assert model.now_s == wake_s or wake_s < model.now_s < unposted_s
            for group in groups:
                told[number_of[group]] = model.now_s
    return told


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fabric", FABRICS)
def test_looking_on_to_the_next_post_changes_nothing_but_the_number_of_looks(fabric, seed):
    posts, step_by_step, looking_on = Posts(seed, 120), network(fabric, "pooled"), network(fabric, "pooled")
    assert drive(looking_on, posts, looks_on=True) == drive(step_by_step, posts)
    assert looking_on.events == step_by_step.events
    np.testing.assert_array_equal(looking_on.completions().finish_s, step_by_step.completions().finish_s)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("split", ["pooled", "fixed"])
@pytest.mark.parametrize("fabric", FABRICS)
def test_a_group_is_told_of_just_when_its_last_transfer_arrives(fabric, split, seed):
    posts = Posts(seed, 120)
    model = network(fabric, split)
    told = drive(model, posts)
    at_once = run_flows(network(fabric, split), posts.table())
    ended = model.completions()
    # Numbers go by the order of posts, which is that of the table here.
    np.testing.assert_allclose(ended.finish_s, at_once.finish_s, rtol=1e-12)
    np.testing.assert_array_equal(ended.bound_link, at_once.bound_link)
    np.testing.assert_allclose(model.link_table().size_bytes, _carried(fabric, split, posts), rtol=1e-9, atol=1e-3)
    last = np.maximum.reduceat(ended.finish_s, np.cumsum([0, *(len(row[0]) for row in posts.rows)])[:-1])
    np.testing.assert_allclose([told[index] for index in range(len(last))], last, rtol=1e-12)


def _carried(fabric: str, split: str, posts: Posts) -> np.ndarray:
    model = network(fabric, split)
    run_flows(model, posts.table())
    return model.link_table().size_bytes


def test_groups_equal_those_counted_in_plain_python():
    posts, twin = Posts(9, 80), FlowGroups()
    model, single = network("zcube-256", "pooled"), network("zcube-256", "pooled")
    told = drive(model, posts)
    group_of = {}
    for index, (source, target, size, start_s, cut) in enumerate(posts.rows):
        group = twin.open()
        group_of[group] = index
        numbers = single.send(FlowTable(source, target, size, start_s))
        if cut:
            twin.add(group, numbers[:cut], False)
        twin.add(group, numbers[cut:], True)
    expected = {}
    while len(expected) < len(posts.rows):
        at_s = single.next_event_s()
        for group in twin.arrive(single.advance(at_s)):
            expected[group_of[group]] = at_s
    assert told == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("split", ["pooled", "fixed"])
def test_transfers_that_have_ended_leave_the_fluid(split):
    few, many = Posts(1, 400), Posts(1, 4000)
    held = []
    for posts in (few, many):
        model = network("roft-256", split)
        drive(model, posts)
        held.append(model.memory_bytes - 80 * len(posts.table()))
    # What stays of a transfer is a record, for which room is made four times at most.
    assert held[1] - held[0] < 80 * len(many.table()) + 100_000


def first_told(model: FlowModel) -> list[int]:
    """Run from bound to bound to the first groups that arrive."""
    while not (groups := model.advance_groups(model.next_group_s())):
        assert np.isfinite(model.next_group_s())
    return groups


@pytest.mark.parametrize(("first_bytes", "last_bytes"), [(1e6, 1e6), (1e6, 1e9), (1e9, 1e6)])
def test_a_group_arrives_with_its_last_whichever_was_posted_first(first_bytes, last_bytes):
    model = network("roft-256", "pooled")
    paths, group = model.paths(np.array([0, 1]), np.array([100, 101])), model.open_group()
    model.post(group, paths[:1], np.array([first_bytes]), np.zeros(1), False)
    assert model.next_group_s() == np.inf
    assert model.advance_groups(0.001) == []
    model.post(group, paths[1:], np.array([last_bytes]), np.full(1, 0.001), True)
    assert first_told(model) == [group]
    assert model.now_s == model.completions().finish_s.max()
    # Its number is used again, for one that knows nothing of it.
    assert model.open_group() == group
    model.post(group, paths[:1], np.array([1e6]), np.ones(1), True)
    assert first_told(model) == [group]
    assert model.now_s == model.completions().finish_s[-1]


def test_a_run_to_the_end_ends_with_the_last_arrival_of_a_group():
    model = network("roft-256", "pooled")
    paths, group = model.paths(np.array([0, 1]), np.array([100, 101])), model.open_group()
    model.post(group, paths, np.array([1e6, 1e5]), np.zeros(2), True)
    model.advance(float("inf"))
    assert model.now_s == model.completions().finish_s.max()
    assert model.advance_groups(model.now_s) == [group]


def test_a_post_that_cannot_be_carried_is_refused():
    model = network("roft-256", "pooled")
    paths, group = model.paths(np.array([0]), np.array([9])), model.open_group()
    for size_bytes in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="positive"):
            model.post(group, paths, np.array([size_bytes]), np.array([1.0]), True)
    model.advance(2.0)
    with pytest.raises(ValueError, match="at or after"):
        model.post(group, paths, np.array([1.0]), np.array([1.0]), True)
    with pytest.raises(ValueError, match="by no transfer"):
        model.post(group, paths[:0], np.zeros(0), np.zeros(0), True)
    assert model.next_group_s() == np.inf


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_transfers_posted_in_turn_end_when_all_posted_at_once_do(monkeypatch, at_once, seed):
    monkeypatch.setattr("zcube.network.flow_model.POSTED_AT_ONCE", at_once)
    flows = Posts(seed, 200).table()
    order = np.argsort(flows.start_s, kind="stable")
    # Many start together, and a few all but together.
    start_s = np.round(flows.start_s[order], 2)
    start_s[1::5] += 1e-13
    flows = FlowTable(flows.source[order], flows.target[order], flows.size_bytes[order], np.sort(start_s))
    for model in (ideal_model(FABRICS["roft-256"]), network("zcube-256", "pooled"), network("zcube-256", "fixed")):
        other = FlowModel(model.link_set, model.routing, model.path_split, model.fidelity)
        other.run_in_turn(other.paths(flows.source, flows.target), flows.size_bytes, flows.start_s)
        expected, found = run_flows(model, flows), other.completions()
        assert found.finish_s.tobytes() == expected.finish_s.tobytes()
        assert found.bound_link.tolist() == expected.bound_link.tolist()
        assert other.link_table().size_bytes.tobytes() == model.link_table().size_bytes.tobytes()
        assert other.events == model.events and other.now_s == model.now_s
