"""Whatever the trace: files keep it exactly, expansion keeps bytes and order, totals agree with a count by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zcube.trace.builder import TraceBuilder
from zcube.trace.collective_steps import ALGORITHMS
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import Kind
from zcube.trace.files import is_trace, read_trace, write_trace
from zcube.trace.totals import totals
from zcube.trace.unloaded import unloaded_times

TIMES = st.floats(0, 1e10, allow_nan=False)
TEXTS = st.text(min_size=0, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
COLUMNS = ("kind", "name", "phase", "layer", "source", "target", "group", "size_bytes", "start_s", "duration_s")


@st.composite
def traces(draw, collectives=tuple(ALGORITHMS), most=12):
    ranks, per_node = draw(st.integers(2, 20)), draw(st.sampled_from((1, 2, 4, 8)))
    builder = TraceBuilder(ranks, per_node)
    rank = st.integers(0, ranks - 1)
    for _ in range(draw(st.integers(0, most))):
        after = draw(st.lists(st.integers(0, len(builder) - 1), max_size=4)) if len(builder) else []
        shared = {"phase": draw(TEXTS), "layer": draw(st.integers(-1, 100)), "start_s": draw(TIMES), "after": after}
        kind = draw(st.sampled_from(Kind))
        if kind == Kind.COMPUTE:
            builder.compute(draw(TEXTS), draw(rank), draw(TIMES), **shared)
        elif kind == Kind.TRANSFER:
            source, shift = draw(rank), draw(st.integers(1, ranks - 1))
            duration_s = draw(TIMES | st.just(float("nan")))
            size = draw(st.integers(1, 10**17))
            builder.transfer(draw(TEXTS), source, (source + shift) % ranks, size, duration_s=duration_s, **shared)
        else:
            group = draw(st.lists(rank, min_size=1, max_size=8, unique=True))
            root = draw(st.sampled_from((*group, -1)))
            builder.collective(draw(st.sampled_from(collectives)), group, draw(st.integers(0, 10**6)), root=root, **shared)
    return builder.build(draw(st.dictionaries(TEXTS, JSON, max_size=3)))


def same(one, other):
    for name in (*COLUMNS, "first_dependency", "dependency"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for name in ("names", "phases", "groups", "ranks", "ranks_per_node", "metadata"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trace=traces())
def test_files_keep_a_trace_exactly(trace, ending, tmp_path):
    path, again = tmp_path / f"trace.{ending}", tmp_path / f"again.{ending}"
    write_trace(trace, path)
    assert is_trace(path)
    read = read_trace(path)
    same(trace, read)
    write_trace(read, again)
    assert path.read_bytes() == again.read_bytes()


#: Bytes that all ranks together send, of what one rank puts in; a part that stays where it is counts for none.
def sent_in_all(name, algorithm, ranks, size_bytes, root):
    part = [size_bytes // ranks + (number < size_bytes % ranks) for number in range(ranks)]
    return {
        "all-reduce": ranks * (ranks - 1) * size_bytes if algorithm == "one-shot" else 2 * (ranks - 1) * size_bytes,
        "all-gather": ranks * (ranks - 1) * size_bytes,
        "reduce-scatter": (ranks - 1) * size_bytes,
        "all-to-all": (ranks - 1) * size_bytes,
        "broadcast": (ranks - 1) * size_bytes,
        "reduce": (ranks - 1) * size_bytes,
        "gather": (ranks - 1) * size_bytes,
        "scatter": size_bytes - part[max(root, 0)],
        "send-receive": (0 if ranks == 1 else size_bytes if root >= 0 else ranks * size_bytes),
        "barrier": 0,
    }[name]


@settings(max_examples=80)
@given(trace=traces(), data=st.data())
def test_expansion_keeps_bytes_rows_and_order(trace, data):
    chosen = {name: data.draw(st.sampled_from(options)) for name, options in ALGORITHMS.items()}
    channels = data.draw(st.sampled_from((None, 1, 3)))
    new = expand(trace, chosen, channels=channels)
    new.check()
    assert not len(new.rows(Kind.COLLECTIVE))
    expected = int(trace.size_bytes[trace.kind == Kind.TRANSFER].astype(object).sum())
    for row in trace.rows(Kind.COLLECTIVE):
        group, name = trace.groups[trace.group[row]], trace.names[trace.name[row]]
        root = group.index(trace.source[row]) if trace.source[row] >= 0 else -1
        expected += sent_in_all(name, chosen[name], len(group), int(trace.size_bytes[row]), root)
    assert int(new.size_bytes.astype(object).sum()) == expected
    plain = trace.kind != Kind.COLLECTIVE
    if plain.any() and not len(trace.rows(Kind.COLLECTIVE)):
        same(trace, new)
    assert keeps_waiting(trace, new)


def keeps_waiting(trace, new):
    """Return whether each plain row follows each plain row of its own rank that it followed before, through anything."""
    old_rows = np.flatnonzero(trace.kind != Kind.COLLECTIVE)
    # Rows that were there before keep their order; the expansion's own rows have new names or sizes of collectives.
    places = iter(range(len(new)))
    match = {}
    for old in old_rows.tolist():
        key = signature(trace, old)
        match[old] = next(place for place in places if signature(new, place) == key)
    before, after = reach(trace), reach(new)
    for old in old_rows.tolist():
        for wait in old_rows.tolist():
            own = trace.source[old] == trace.source[wait]
            if own and wait in before[old] and direct_or_own(trace, old, wait, before) and match[wait] not in after[match[old]]:
                return False
    return True


def signature(trace, row):
    texts = trace.names[trace.name[row]], trace.phases[trace.phase[row]] if trace.phase[row] >= 0 else None
    whole = [int(getattr(trace, name)[row]) for name in ("kind", "layer", "source", "target", "size_bytes")]
    return (*texts, *whole, float(trace.start_s[row]), str(trace.duration_s[row]))


def reach(trace):
    seen = []
    for row in range(len(trace)):
        waits = set(trace.waits_for(row).tolist())
        seen.append(waits.union(*(seen[wait] for wait in waits)))
    return seen


def direct_or_own(trace, row, wait, before):
    """Return whether a row waits for another of its rank directly, or through one collective that the rank takes part in."""
    waits = trace.waits_for(row).tolist()
    if wait in waits:
        return True
    rank = trace.source[row]
    return any(
        trace.kind[middle] == Kind.COLLECTIVE
        and rank in trace.groups[trace.group[middle]]
        and wait in trace.waits_for(middle).tolist()
        for middle in waits
    )


@settings(max_examples=40)
@given(trace=traces())
def test_totals_agree_with_a_count_by_hand(trace):
    result = totals(trace).document()
    per_node = trace.ranks_per_node
    sent, received, rails, seconds = Counter(), Counter(), Counter(), 0.0
    within = 0
    for row in range(len(trace)):
        source, target, size = int(trace.source[row]), int(trace.target[row]), int(trace.size_bytes[row])
        if trace.kind[row] == Kind.TRANSFER:
            sent[source] += size
            received[target] += size
            if source // per_node == target // per_node:
                within += size
            else:
                rails[source % per_node, target % per_node] += size
        elif trace.kind[row] == Kind.COMPUTE:
            seconds += float(trace.duration_s[row])
    assert result["ranks_sent_bytes"] == [sent[rank] for rank in range(trace.ranks)]
    assert result["ranks_received_bytes"] == [received[rank] for rank in range(trace.ranks)]
    assert {(row["source_rail"], row["target_rail"]): row["bytes"] for row in result["between_nodes_rails"]} == dict(rails)
    assert result["in_node_bytes"] == within
    assert result["in_node_bytes"] + result["between_nodes_bytes"] == result["total"]["bytes"] == sum(sent.values())
    same_rail = sum(size for (source, target), size in rails.items() if source == target)
    assert result["between_nodes_same_rail_bytes"] == same_rail
    assert result["total"]["compute_s"] == pytest.approx(seconds)
    for key in ("phases", "operations", "operations_by_phase"):
        for column in ("transfers", "computations", "collectives", "bytes", "collective_put_in_bytes"):
            assert sum(row[column] for row in result[key]) == result["total"][column]


@settings(max_examples=40)
@given(trace=traces())
def test_unloaded_times_obey_dependencies_and_rates(trace):
    new = expand(trace)
    start_s, finish_s = unloaded_times(new, 400.0, 3600.0, 1e-6)
    for row in range(len(new)):
        ready = max([float(new.start_s[row]), *finish_s[new.waits_for(row)].tolist()])
        assert start_s[row] == ready
        rate = 3600e9 if new.source[row] // new.ranks_per_node == new.target[row] // new.ranks_per_node else 400e9
        takes = new.size_bytes[row] * 8 / rate + 1e-6 if new.kind[row] == Kind.TRANSFER else new.duration_s[row]
        assert finish_s[row] - start_s[row] == pytest.approx(takes, abs=1e-5)
