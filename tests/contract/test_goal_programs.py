"""GOAL programs: read by their grammar, run as they say, written so that they say the same."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_formats import goal_binary

from zcube.errors import InputError
from zcube.trace.builder import TraceBuilder
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import Kind
from zcube.trace.exporters.catalog import export_trace
from zcube.trace.importers.catalog import import_trace
from zcube.trace.unloaded import unloaded_times


def program(*ranks):
    return f"num_ranks {len(ranks)}\n" + "".join(f"rank {i} {{\n{text}}}\n" for i, text in enumerate(ranks))


def makespan_us(imported, rate_gbps=400.0):
    return float(unloaded_times(expand(imported.trace), rate_gbps, nvlink_gbps=rate_gbps)[1].max()) * 1e6


# 1 MB takes 20 us at 400 Gb/s.
MB = 1_000_000


@pytest.mark.parametrize(
    ("text", "by_hand_us"),
    [
        (program("l1: calc 100000 cpu 0\nl2: send 1000000b to 1 tag 42 cpu 0 nic 0\nl2 requires l1\n",
                 "l1: recv 1000000b from 0 tag 42\nl2: calc 5000\nl2 requires l1\n"), 100 + 20 + 5),
        # A computation is held up by another of its cpu, not by one of another cpu.
        (program("calc 1000\ncalc 2000\ncalc 500 cpu 1\n"), 3),
        (program("calc 1000 cpu 0\ncalc 2000 cpu 2\ncalc 500 cpu 1\n"), 2),
        # What could start first computes first, wherever it stands.
        (program("calc 10000\ncalc 7000\n", ""), 17),
        (program("r: recv 1000000b from 1 tag 0\na: calc 10000\na requires r\nb: calc 15000\n",
                 "send 1000000b to 0 tag 0\n"), 20 + 10),
        # One of no length takes no cpu.
        (program("a: calc 9000\nz: calc 0\nb: calc 4000 cpu 1\nb requires z\n"), 9),
        # A start is waited for, not an end.
        (program("a: calc 4000\nb: calc 9000 cpu 1\nb irequires a\n"), 9),
        (program("a: calc 4000\nb: calc 9000 cpu 1\nb requires a\n"), 13),
        # b starts when a has started, which waits for z.
        (program("z: calc 3000 cpu 2\na: calc 4000\na requires z\nb: calc 9000 cpu 1\nb irequires a\n"), 12),
        # A send of up to 65,535 bytes ends for its sender as it starts, a larger one when it was received.
        (program("s: send 65535b to 1 tag 0\nc: calc 30000\nc requires s\n", "recv 65535b from 0 tag 0\n"), 30),
        (program("s: send 1000000b to 1 tag 0\nc: calc 30000\nc requires s\n", "recv 1000000b from 0 tag 0\n"), 50),
        # A message of no bytes, and one to oneself, hold up what waits for them.
        (program("c: calc 8000\ns: send 0b to 1 tag 0\ns requires c\n",
                 "r: recv 0b from 0 tag 0\nc: calc 5000\nc requires r\n"), 13),
        (program("c: calc 8000\ns: send 9b to 0 tag 1\ns requires c\n"
                 "r: recv 9b from 0 tag 1\nd: calc 5000 cpu 1\nd requires r\n"), 13),
        # Any source and any tag: the message that comes first, the other for the other receive.
        (program("r: recv 1000000b from -1 tag -1\nc: calc 1000\nc requires r\nq: recv 1000000b from -1 tag 7\nq requires c\n",
                 "c: calc 50000\ns: send 1000000b to 0 tag 7\ns requires c\n", "s: send 1000000b to 0 tag 3\n"), 70),
        # Tags keep messages apart that cross.
        (program("a: calc 10000\ns1: send 1000000b to 1 tag 1\ns1 requires a\ns2: send 1000000b to 1 tag 2\n",
                 "r1: recv 1000000b from 0 tag 1\nr2: recv 1000000b from 0 tag 2\nc: calc 5000\nc requires r2\n"), 30),
        (program("/* two\nlines */ calc 7 // not read\n").replace(" // not read", "") + "// the end", 0.007),
    ],
)  # fmt: skip
def test_a_program_takes_what_it_takes_by_hand(load, text, by_hand_us):
    assert makespan_us(load(text, ranks_per_node=1)) == pytest.approx(by_hand_us, rel=1e-9)


def test_units_and_eager_sizes_are_named_parameters(load):
    text = program("s: send 70000b to 1 tag 0\nc: calc 3000\nc requires s\n", "recv 70000b from 0 tag 0\n")
    assert makespan_us(load(text, ranks_per_node=1, eager_bytes=70_000, goal_unit_ns=10.0)) == pytest.approx(30)
    assert makespan_us(load(text, ranks_per_node=1, eager_bytes=69_999, goal_unit_ns=10.0)) == pytest.approx(31.4)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("num_ranks 1\nrank 0 {\nl1: calc 1 // a comment behind\n}\n", 3, "l1: calc 1 // a comment behind"),
        ("num_ranks 1\nrank 0 {\nl1 requires l2\nl2: calc 1\n}\n", 3, "l1 requires l2"),
        ("num_ranks 1\nrank 1 {\n}\n", 2, "rank 1"),
        ("num_ranks 1\nrank 0 {\n}\nrank 0 {\n}\n", 4, "rank 0"),
        ("num_ranks 2\nrank 0 {\nsend 5b to 2\n}\nrank 1 {\n}\n", 3, "send 5b to 2"),
        ("num_ranks 2\nrank 0 {\nsend 5b from 1\n}\nrank 1 {\n}\n", 3, "send 5b from 1"),
        ("num_ranks 2\nrank 0 {\nsend 5b to -1\n}\nrank 1 {\n}\n", 3, "send 5b to -1"),
        ("num_ranks 1\nrank 0 {\ncalc 5 cpu 256\n}\n", 3, "cpu 256"),
        ("num_ranks 1\nrank 0 {\ncalc 5 nic 0\n}\n", 3, "calc 5 nic 0"),
        ("num_ranks 1\nrank 0 {\nsend 9999999999999999b to 0\n}\n", 3, "send 9999999999999999b"),
        ("num_ranks 0\nrank 0 {\n}\n", 1, "num_ranks 0"),
        ("num_ranks 99999999999\nrank 0 {\n}\n", 1, "num_ranks 99999999999"),
        ("calc 5\nnum_ranks 1\nrank 0 {\n}\n", 1, "calc 5"),
    ],
)
def test_what_the_grammar_does_not_have_is_refused_with_its_line(load, text, line, found):
    with pytest.raises(InputError) as caught:
        load(text, format="goal")
    assert any(f"line {line} (byte" in fault.where and found in fault.found for fault in caught.value.faults)


def test_a_program_that_breaks_off_keeps_what_stands_before(load):
    imported = load("num_ranks 2\nrank 0 {\nl1: send 5b to 1 tag 3\nl2: send 7b to 1 ta")
    assert imported.trace.size_bytes.tolist() == [5]
    assert "line 4" in imported.broken.where and "without its end" in imported.broken.found


def test_messages_that_nobody_sends_are_counted(load):
    imported = load(program("r: recv 5b from 1 tag 3\nc: calc 1000\nc requires r\n", "calc 2000\n"))
    assert dict(imported.report.skipped)["a receive without its send"] == 1
    assert any(note.startswith("1 operations would never start") for note in imported.report.notes)
    assert makespan_us(imported) == pytest.approx(2)


def test_two_programs_are_two_jobs(load):
    with pytest.raises(InputError, match="a second program beside"):
        load([program("calc 1\n"), program("calc 2\n")])


SEND, RECEIVE, CALC = 1, 2, 3


def test_the_binary_of_loggopsim_says_what_its_text_says(load):
    """Written as Graph::serialize_mmap writes it, with both kinds of dependency."""
    head, parts = goal_binary(
        [
            ([(CALC, 0, 3000, 0, 2, 0), (CALC, 0, 4000, 0, 0, 0), (CALC, 0, 9000, 0, 1, 0), (SEND, 1, MB, 42, 0, 0)],
             [(1, 0), (3, 2)], [(2, 1)]),
            ([(RECEIVE, 0xFFFFFFFF, MB, 0xFFFFFFFF, 0, 0), (CALC, 0, 5000, 0, 0, 0)], [(1, 0)], []),
        ],
        max_cpu=2,
    )  # fmt: skip
    imported = load(head + b"".join(parts), ranks_per_node=1)
    assert imported.report.format == "goal-bin" and imported.broken is None
    assert makespan_us(imported) == pytest.approx(3 + 9 + 20 + 5)


@pytest.mark.parametrize(
    ("at", "raw", "found"),
    [
        (0, b"\x26\x09", "a simulation spent"),
        (8, b"\xff\xff\xff\xff", "ranks"),
        (14, b"\xff\xff\xff\xff\xff", "a schedule from byte"),
        (46, b"\xff\xff", "operations"),
        (62, b"\x07", "operation 0: .0, 7"),
        (63, b"\x09", "operation 0: .0, 1, 9"),
        (81, b"\x09", "dependencies of operation 0"),
    ],
)
def test_a_binary_that_contradicts_itself_is_refused(load, at, raw, found):
    head, parts = goal_binary([([(SEND, 1, 5, 0, 0, 0), (CALC, 0, 5, 0, 0, 0)], [(1, 0)], []), ([], [], [])])
    content = bytearray(head + b"".join(parts))
    content[at : at + len(raw)] = raw
    with pytest.raises(InputError, match=found):
        load(bytes(content))


@st.composite
def traces(draw):
    """Small traces: computations, transfers and a collective, on two nodes of two, each waiting for some before."""
    builder = TraceBuilder(4, 2)
    count = draw(st.integers(1, 12))
    for number in range(count):
        after = [int(wait) for wait in draw(st.sets(st.integers(0, number - 1), max_size=3))] if number else []
        kind = draw(st.sampled_from(["compute", "transfer", "collective"]))
        start_s = draw(st.sampled_from([0.0, 0.0, 3e-5]))
        if kind == "compute":
            builder.compute(
                "c", draw(st.integers(0, 3)), draw(st.sampled_from([0.0, 1e-5, 2.5e-4])), start_s=start_s, after=after
            )
        elif kind == "transfer":
            source = draw(st.integers(0, 3))
            target = (source + draw(st.integers(1, 3))) % 4
            builder.transfer("t", source, target, draw(st.sampled_from([1000, 65_535, MB])), start_s=start_s, after=after)
        else:
            builder.collective("all-gather", range(4), draw(st.sampled_from([4000, MB])), start_s=start_s, after=after)
    return builder.build({})


@settings(max_examples=80)
@given(trace=traces(), suffix=st.sampled_from([".goal", ".bin"]))
def test_a_trace_that_is_written_and_read_back_takes_the_same_time(tmp_path_factory, trace, suffix):
    path = tmp_path_factory.mktemp("goal") / f"program{suffix}"
    export_trace(trace, path)
    imported = import_trace([path], ranks_per_node=2)
    rows = imported.trace.rows(Kind.TRANSFER)
    expanded = expand(trace)
    added = int(imported.trace.size_bytes[rows].sum() - expanded.size_bytes.sum())
    assert 0 <= added <= len(expanded) * 4
    before, after = (unloaded_times(each, 400.0)[1].max() for each in (expanded, imported.trace))
    # Messages of a byte join ranks, and times are whole nanoseconds.
    assert before - 1e-9 * len(expanded) <= after <= before + 1e-9 * len(expanded) + added * 8 / 400e9


def test_computations_of_one_cpu_keep_their_order_when_read_back(tmp_path):
    """One after a collective, and one with a start of its own before that: on a network without time they change places."""
    builder = TraceBuilder(4, 2)
    reduced = builder.collective("all-gather", range(4), MB)
    builder.compute("late", 0, 1e-5, after=[reduced])
    builder.compute("early", 0, 1e-5, start_s=3e-5)
    export_trace(builder.build({}), tmp_path / "p.goal")
    before, after = (
        unloaded_times(each, 400.0)[1].max()
        for each in (expand(builder.build({})), import_trace([tmp_path / "p.goal"], ranks_per_node=2).trace)
    )
    assert after == pytest.approx(before, rel=1e-3)


def test_text_and_binary_of_one_trace_are_one_program(tmp_path, load):
    builder = TraceBuilder(8, 4)
    first = builder.compute("a", np.arange(8), 1e-3)
    reduced = builder.collective("all-reduce", range(8), 1 << 22, after=list(first))
    builder.transfer("kv-write", 0, 5, 1000, start_s=5e-3, after=[reduced])
    read = []
    for suffix in (".goal", ".bin"):
        export_trace(builder.build({}), tmp_path / f"p{suffix}")
        read.append(import_trace([tmp_path / f"p{suffix}"]).trace)
    for column in ("kind", "source", "target", "size_bytes", "duration_s", "first_dependency", "dependency"):
        assert np.array_equal(getattr(read[0], column), getattr(read[1], column), equal_nan=True), column
    text = (tmp_path / "p.goal").read_text()
    assert re.match(r"num_ranks 8\n\nrank 0 \{\nl0: calc 5000000 cpu 2\n", text)


def test_other_endings_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"'\.dot'; expected \.goal or"):
        export_trace(TraceBuilder(1, 1).build({}), tmp_path / "p.dot")


def test_a_long_line_of_comments_and_brackets_is_read_in_one_pass(load):
    text = "num_ranks 1 " + "/**/" * 200_000 + "rank 0 {\ncalc 5\n}" + " " * 1000
    imported = load(text)
    assert (len(imported.trace), imported.broken) == (1, None)


def test_a_log_that_speaks_of_ranks_is_no_program(load):
    with pytest.raises(InputError, match="a format that cannot be told"):
        load("starting\nnum_ranks 4\nrank 0 {\n}\n")
