"""Traces put together keep what they hold: row by row as a plain twin puts them, and what waits for what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import CommTrace, Kind
from zcube.trace.merging import extend, last_of_ranks

NAMES, PHASES = ("a", "b", "c"), ("", "p", "q")


@st.composite
def traces(draw, ranks=16):
    builder = TraceBuilder(ranks, 8)
    for _ in range(draw(st.integers(0, 12))):
        name, phase = draw(st.sampled_from(NAMES)), draw(st.sampled_from(PHASES))
        known = len(builder)
        waits = [draw(st.integers(-1, known - 1)) for _ in range(draw(st.integers(0, 3)))] if known else []
        kind = draw(st.sampled_from(list(Kind)))
        first = draw(st.integers(0, ranks - 1))
        if kind == Kind.COMPUTE:
            gpus = np.unique([first, *draw(st.lists(st.integers(0, ranks - 1), max_size=3))])
            builder.compute(name, gpus, draw(st.floats(0, 1)), phase=phase, layer=draw(st.integers(-1, 3)), after=waits)
        elif kind == Kind.TRANSFER:
            target = (first + draw(st.integers(1, ranks - 1))) % ranks
            builder.transfer(
                name, first, target, draw(st.integers(1, 100)), phase=phase, start_s=draw(st.floats(0, 1)), after=waits
            )
        else:
            group = draw(st.lists(st.integers(0, ranks - 1), min_size=1, max_size=4, unique=True))
            root = draw(st.sampled_from([-1, *group]))
            builder.collective(name, group, 7, root=root, phase=phase, after=[wait for wait in waits if wait >= 0])
    return builder.build({"made": "by hand"})


def rows(trace: CommTrace):
    """Everything of each operation that does not depend on how names and groups are numbered."""
    return [
        (
            int(trace.kind[row]),
            trace.names[trace.name[row]],
            trace.phases[trace.phase[row]] if trace.phase[row] >= 0 else "",
            int(trace.layer[row]),
            int(trace.source[row]),
            int(trace.target[row]),
            trace.groups[trace.group[row]] if trace.group[row] >= 0 else (),
            int(trace.size_bytes[row]),
            float(trace.start_s[row]),
            str(trace.duration_s[row]),
            sorted(trace.waits_for(row).tolist()),
        )
        for row in range(len(trace))
    ]


def appended(first: CommTrace, second: CommTrace, rank_offset: int, after: list[int]):
    """The rows of ``second`` behind those of ``first``, each moved and made to wait by itself."""
    joined = rows(first)
    for number, (kind, name, phase, layer, source, target, group, size, start_s, duration_s, waits) in enumerate(rows(second)):
        waits = [wait + len(first) for wait in waits]
        if not len(second.waits_for(number)):
            waiting = [source] if source >= 0 else group
            waits = sorted(after[rank] for rank in waiting if after[rank] >= 0)
        source, target = (rank if rank < 0 else rank + rank_offset for rank in (source, target))
        group = tuple(rank + rank_offset for rank in group)
        joined.append((kind, name, phase, layer, source, target, group, size, start_s, duration_s, waits))
    return joined


def extended(parts, offsets, after, ranks: int = 48):
    """Traces put into one builder in turn."""
    builder = TraceBuilder(ranks, 8)
    numbers = [extend(builder, part, rank_offset=offset, after=wait) for part, offset, wait in zip(parts, offsets, after)]
    return builder.build({}), numbers


@given(first=traces(), second=traces(), data=st.data())
def test_rows_are_those_of_the_twin(first, second, data):
    after = [data.draw(st.integers(-1, len(first) - 1)) for _ in range(16)]
    joined, (_, numbers) = extended([first, second], [0, 8], [None, after])
    assert rows(joined) == appended(first, second, 8, after)
    assert numbers.tolist() == list(range(len(first), len(first) + len(second)))
    assert rows(joined)[: len(first)] == rows(first)


@given(first=traces(), second=traces(), data=st.data())
def test_only_first_operations_wait_for_the_trace_before(first, second, data):
    after = np.array([data.draw(st.integers(-1, len(first) - 1)) for _ in range(16)])
    joined, _ = extended([first, second], [0, 0], [None, after])
    for row in range(len(second)):
        own = second.waits_for(row)
        if len(own):
            expected = own + len(first)
        elif second.source[row] >= 0:
            expected = after[[second.source[row]]]
        else:
            expected = after[list(second.groups[second.group[row]])]
        assert joined.waits_for(len(first) + row).tolist() == [wait for wait in expected if wait >= 0]


@given(parts=st.lists(traces(), min_size=1, max_size=3))
def test_side_by_side_keeps_bytes_and_parts_apart(parts):
    offsets = [8 * place for place in range(len(parts))]
    merged, _ = extended(parts, offsets, [None] * len(parts), ranks=16 + offsets[-1])
    assert merged.size_bytes.sum() == sum(part.size_bytes.sum() for part in parts)
    assert merged.ranks == 16 + offsets[-1]
    begin = 0
    for part in parts:
        own = merged.dependency[merged.first_dependency[begin] : merged.first_dependency[begin + len(part)]]
        assert (own - begin).tolist() == part.dependency.tolist()
        begin += len(part)


def test_last_computation_of_each_rank():
    builder = TraceBuilder(3, 1)
    builder.compute("a", [0, 1], 1.0)
    builder.compute("a", [1], 1.0)
    builder.transfer("b", 1, 2, 5)
    assert last_of_ranks(builder.build({})).tolist() == [0, 2, -1]


def test_what_cannot_be_joined_is_refused():
    builder = TraceBuilder(16)
    builder.compute("a", 0, 1.0)
    one = builder.build({})
    with pytest.raises(ValueError, match="multiple of 8"):
        extend(builder, one, rank_offset=4)
    with pytest.raises(ValueError, match="for each of 16 ranks"):
        extend(builder, one, after=[0])
    with pytest.raises(ValueError, match="one operation below 1"):
        extend(builder, one, after=[1] * 16)
