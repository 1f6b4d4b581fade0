"""Properties of traces: spreading keeps the order, generation is repeatable, prefixes are shared as they should be."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.workload.coding_agent import CodingAgent, generate_requests
from zcube.workload.readers import ReadOptions, read_requests
from zcube.workload.ticks import spread_ties

ticks = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(lambda values: np.sort(values).astype(float) * 3)
times = st.lists(st.floats(0, 1e6), min_size=1, max_size=40).map(np.sort)


@given(st.one_of(ticks, times))
def test_spreading_keeps_the_order_and_stays_within_the_gap(arrival_s):
    spread = spread_ties(arrival_s)
    assert (np.diff(spread) >= 0).all()
    assert (spread >= arrival_s).all()
    distinct = np.unique(arrival_s)
    following = np.searchsorted(distinct, arrival_s, side="right")
    inner = following < distinct.size
    assert (spread[inner] <= distinct[following[inner]]).all()
    if distinct.size > 1:
        assert (spread[~inner] <= distinct[-1] + np.median(np.diff(distinct))).all()


@given(ticks)
def test_spreading_is_even_and_leaves_no_ties(arrival_s):
    spread = spread_ties(arrival_s)
    distinct = np.unique(arrival_s)
    if distinct.size == 1:
        assert spread.tolist() == arrival_s.tolist()
        return
    gaps = dict(zip(distinct, np.append(np.diff(distinct), np.median(np.diff(distinct)))))
    for tick in distinct:
        own = spread[arrival_s == tick]
        expected = [tick + k / own.size * gaps[tick] for k in range(own.size)]
        assert own == pytest.approx(expected)
    assert np.unique(spread).size == spread.size


@given(times)
def test_times_without_ties_stay_as_they_are(arrival_s):
    distinct = np.unique(arrival_s)
    assert spread_ties(distinct).tolist() == distinct.tolist()


def test_the_rule_by_hand():
    assert spread_ties([0, 0, 0, 3, 9, 9]).tolist() == [0, 1, 2, 3, 9, 11.25]
    assert spread_ties([]).tolist() == []
    for wrong in ([1, 0], [0, np.nan], [[0, 1]]):
        with pytest.raises(ValueError, match="sorted"):
            spread_ties(wrong)


def arrays(requests):
    keys = ("arrival_s", "input_tokens", "output_tokens", "first_block", "block_id", "session")
    return [getattr(requests, key) for key in keys]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 300), more=st.integers(0, 2_000))
def test_a_longer_trace_of_the_same_seed_begins_with_the_shorter(seed, count, more):
    short = generate_requests(CodingAgent(), count, seed)
    long = generate_requests(CodingAgent(), count + more, seed).head(count)
    assert all(np.array_equal(one, other) for one, other in zip(arrays(short), arrays(long)))


def test_another_seed_gives_another_trace():
    one, other = (generate_requests(CodingAgent(), 100, seed) for seed in (1, 2))
    assert not np.array_equal(one.input_tokens, other.input_tokens)


def common_blocks(one, other):
    length = min(one.size, other.size)
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if differ.size else length


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32),
    shared=st.integers(0, 3_000),
    group=st.integers(0, 3_000),
    block_tokens=st.sampled_from([16, 100, 512]),
)
def test_prompts_share_exactly_the_whole_blocks_of_their_common_text(seed, shared, group, block_tokens):
    agent = CodingAgent(
        shared_prefix_tokens=shared,
        group_prefix_tokens=group,
        groups=2,
        block_tokens=block_tokens,
        restart_fraction=0.0,
        warm_up_s=0.0,
        context_cap_tokens=20_000,
        session_prefix_cap=5_000,
    )
    requests = generate_requests(agent, 60, seed)
    across = {shared // block_tokens, (shared + group) // block_tokens}
    for i in range(60):
        blocks = requests.blocks(i)
        assert blocks.size == -(-requests.input_tokens[i] // block_tokens)
        for j in range(i):
            found = common_blocks(requests.blocks(j), blocks)
            if requests.session[i] == requests.session[j]:
                assert found == requests.input_tokens[j] // block_tokens
            else:
                assert found in across
            # Equal ids mean equal prefixes, so no id recurs behind the first difference.
            assert np.intersect1d(requests.blocks(j)[found:], blocks[found:]).size == 0


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_prompts_of_a_session_grow_by_what_was_said(seed):
    requests = generate_requests(CodingAgent(), 300, seed)
    for session in range(int(requests.session.max()) + 1):
        rows = np.flatnonzero(requests.session == session)
        said = requests.input_tokens[rows[:-1]] + requests.output_tokens[rows[:-1]]
        assert (requests.input_tokens[rows[1:]] > said).all()
        assert (np.diff(requests.arrival_s[rows]) > 0).all()
    assert np.array_equal(np.unique(requests.session), np.arange(requests.session.max() + 1))


@given(st.floats(1e-3, 1e6), st.integers(0, 100))
@settings(max_examples=20)
def test_at_rate_reaches_the_rate_and_keeps_the_order(rate, seed):
    requests = generate_requests(CodingAgent(), 50, seed).at_rate(rate)
    assert len(requests) / requests.duration_s == pytest.approx(rate)
    assert (np.diff(requests.arrival_s) >= 0).all()


def sessions_of(draws):
    """Rows of interleaved sessions: session, new tokens, answer, ids of a first turn that stand for whole prefixes."""
    return st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 30), st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=25
    ).map(draws)


def delta_rows(turns):
    rows, seen = [], set()
    for session, tokens, output, fork in turns:
        row = {"session_id": f"s{session}", "input_length": tokens, "output_length": output}
        # Block k of a first prompt is the fork's own from block 1 on, so that equal ids mean equal prefixes.
        row["hash_ids"] = [0 if k == 0 else 1 + 100 * fork + k for k in range(-(-tokens // 4))]
        if session not in seen:
            row["timestamp"] = 0
            seen.add(session)
        rows.append(row)
    return rows


@settings(max_examples=60)
@given(sessions_of(delta_rows))
def test_deltas_grow_into_prompts_as_their_texts_do(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "deltas.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    requests = read_requests(path, options=ReadOptions(sessions="delta", block_tokens=4))
    # The twin: texts written out token by token. A first prompt's whole blocks are what their ids say; all else is new.
    texts, prompts = {}, []
    fresh = iter(range(10**9))
    for row in rows:
        history = texts.get(row["session_id"])
        if history is None:
            named = [("block", block, k) for block in row["hash_ids"] for k in range(4)][: row["input_length"] // 4 * 4]
            prompt = named + [("own", next(fresh)) for _ in range(row["input_length"] - len(named))]
        else:
            prompt = history + [("own", next(fresh)) for _ in range(row["input_length"])]
        prompts.append((row["session_id"], prompt))
        texts[row["session_id"]] = prompt + [("own", next(fresh)) for _ in range(row["output_length"])]
    assert requests.input_tokens.tolist() == [len(prompt) for _, prompt in prompts]
    for i in range(len(rows)):
        for j in range(i):
            one, other = prompts[i][1], prompts[j][1]
            whole = min(len(one), len(other)) // 4
            same = next((k for k in range(whole) if one[4 * k : 4 * k + 4] != other[4 * k : 4 * k + 4]), whole)
            assert common_blocks(requests.blocks(i)[:whole], requests.blocks(j)[:whole]) == same
    held = requests.summary().prefix_hit_bound
    assert 0 <= held < 1


@settings(max_examples=60)
@given(sessions_of(delta_rows), st.floats(1e-3, 1e3))
def test_chains_survive_spacing(tmp_path_factory, rows, rate):
    path = tmp_path_factory.getbasetemp() / "spaced.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    requests = read_requests(path, options=ReadOptions(sessions="delta", block_tokens=4))
    starts = int((requests.after < 0).sum())
    if not 1 < starts < len(requests):
        return
    spaced = requests.at_rate(rate)
    assert len(spaced) / spaced.duration_s == pytest.approx(rate)
    waits = np.flatnonzero(spaced.after >= 0)
    assert (spaced.session[waits] == spaced.session[spaced.after[waits]]).all()
    assert (spaced.arrival_s[waits] == spaced.arrival_s[spaced.after[waits]]).all()
    assert sorted(spaced.input_tokens) == sorted(requests.input_tokens)
    assert spaced.summary().prefix_hit_bound == pytest.approx(requests.summary().prefix_hit_bound)


@given(ticks, st.floats(0.1, 10))
def test_spreading_stays_within_a_tick(arrival_s, most_s):
    spread = spread_ties(arrival_s, most_s=most_s)
    assert (spread - arrival_s <= most_s * (1 + 1e-9)).all()
    assert (np.diff(spread) >= 0).all()
