"""What imported operations wait for: a send for its sender, what follows a receive for both, and through what is left out."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.trace.collectives import expand
from zcube.trace.comm_trace import Kind
from zcube.trace.importers.catalog import import_trace
from zcube.trace.unloaded import unloaded_times

HEAD = "rank,op,peer,bytes,duration_us,deps,tag,group"


def makespan_us(imported, rate_gbps=400.0):
    _, finish_s = unloaded_times(expand(imported.trace), rate_gbps, nvlink_gbps=rate_gbps)
    return float(finish_s.max()) * 1e6


@pytest.mark.parametrize("ranks", [2, 3, 7])
@pytest.mark.parametrize("size", [5_000_000, 2_500_000])
def test_a_ring_of_sends_runs_at_once(load, ranks, size):
    """Every rank sends on, then receives, then computes: one transfer's time and the computation."""
    rows = [HEAD]
    for rank in range(ranks):
        first = len(rows)
        rows += [
            f"{rank},send,{(rank + 1) % ranks},{size},,,0,",
            f"{rank},recv,{(rank - 1) % ranks},{size},,{first},0,",
            f"{rank},calc,,,1000.0,{first + 1},,",
        ]
    imported = load("\n".join(rows) + "\n", ranks_per_node=1)
    assert makespan_us(imported) == pytest.approx(1000 + size * 8 / 400e3)
    assert not any("contradict" in note for note in imported.report.notes)


def test_a_send_waits_for_its_sender_and_what_follows_a_receive_for_both(load):
    rows = [
        HEAD, "0,calc,,,300.0,,,", "0,send,1,5000000,,1,0,", "1,calc,,,700.0,,,", "1,recv,0,5000000,,3,0,",
        "1,calc,,,10.0,4,,",
    ]  # fmt: skip
    imported = load("\n".join(rows) + "\n")
    trace = imported.trace
    (sent,) = trace.rows(Kind.TRANSFER)
    last = next(row for row in range(len(trace)) if trace.duration_s[row] == pytest.approx(10e-6))
    assert [int(trace.source[row]) for row in trace.waits_for(sent)] == [0]
    assert makespan_us(imported) == pytest.approx(710)
    assert set(trace.waits_for(last).tolist()) > {int(sent)}


#: What moves nothing: a collective of no bytes, one of a group of one, a send to oneself.
LEFT_OUT = ("all-reduce of 0 bytes", "group of one", "to oneself", "barrier of one", "unmatched receive")


def left_out_row(kind, rank, deps, ranks):
    return {
        "all-reduce of 0 bytes": f"{rank},all-reduce,,0,,{deps},,",
        "group of one": f"{rank},all-reduce,,4096,,{deps},,{rank}",
        "to oneself": f"{rank},send,{rank},4096,,{deps},,",
        "unmatched receive": f"{rank},recv,{(rank + 1) % ranks},4096,,{deps},never,",
        "barrier of one": f"{rank},barrier,,0,,{deps},,{rank}",
    }[kind]


@pytest.mark.parametrize("kind", LEFT_OUT)
@pytest.mark.parametrize(("ranks", "links"), [(4, 1), (3, 3)])
def test_waits_pass_through_what_is_left_out(load, kind, ranks, links):
    """Computation, something that moves nothing, computation, all-reduce: the computations do not run at once."""
    rows = [HEAD]
    for rank in range(ranks):
        rows.append(f"{rank},calc,,,100.0,,,")
        for _ in range(links):
            rows.append(left_out_row(kind, rank, len(rows) - 1, ranks))
        rows.append(f"{rank},calc,,,100.0,{len(rows) - 1},,")
        rows.append(f"{rank},all-reduce,,1048576,,{len(rows) - 1},a,")
    alone = "\n".join([HEAD, *(f"{rank},all-reduce,,1048576,,,a," for rank in range(ranks))]) + "\n"
    expected = 200 + makespan_us(load(alone))
    assert makespan_us(load("\n".join(rows) + "\n")) == pytest.approx(expected)


@pytest.mark.parametrize("comm", [{"comm_size": 0}, {"comm_size": 4096, "pg_name": "one"}])
@pytest.mark.parametrize("ranks", [4, 2])
def test_waits_pass_through_what_chakra_leaves_out(load, comm, ranks):
    def node(number, kind, **more):
        deps = [number - 1] if number > 1 else []
        return {"Id": number, "Name": "n", "NodeType": kind, "data_deps": deps, "is_cpu_op": False} | more

    graph = [
        node(1, 4, runtime=100), node(2, 7, comm_type=0, **comm), node(3, 4, runtime=100),
        node(4, 7, comm_type=0, comm_size=1 << 20),
    ]  # fmt: skip
    files = [json.dumps({"workload_graph": graph, "ngpus": ranks}) for _ in range(ranks)]
    options = {"groups": {"one": [0]}} if "pg_name" in comm else {}
    imported = load(*files, name="t.{}.json", **options)
    alone = load(*[json.dumps({"workload_graph": [{**graph[3], "data_deps": []}], "ngpus": ranks})] * ranks, name="a.{}.json")
    assert makespan_us(imported) == pytest.approx(200 + makespan_us(alone))


@settings(max_examples=60)
@given(st.data())
def test_chains_last_as_long_as_their_computations(tmp_path_factory, data):
    """A chain of computations and of things that move nothing takes the sum of the computations, however it is mixed."""
    ranks = data.draw(st.integers(1, 4))
    rows, longest = [HEAD], 0.0
    for rank in range(ranks):
        total, previous = 0.0, ""
        for part in data.draw(st.lists(st.sampled_from(("calc", *LEFT_OUT[:-1])), min_size=1, max_size=12)):
            if part == "calc":
                duration = data.draw(st.integers(1, 500))
                total += duration
                rows.append(f"{rank},calc,,,{duration},{previous},,")
            else:
                rows.append(left_out_row(part, rank, previous, ranks))
            previous = str(len(rows) - 1)
        rows.append(f"{rank},calc,,,1,{previous},,")
        longest = max(longest, total + 1)
    path = tmp_path_factory.mktemp("chains") / "t.csv"
    path.write_text("\n".join(rows) + "\n")
    assert makespan_us(import_trace([path])) == pytest.approx(longest)


def test_receives_in_a_long_chain_do_not_multiply_waits(load):
    """A thousand receives one after another stand for all before them; joins keep their waits few."""
    rows = [HEAD]
    for turn in range(1000):
        rows.append(f"0,send,1,8,,,{turn},")
    for turn in range(1000):
        rows.append(f"1,recv,0,8,,{len(rows) - 1 if turn else ''},{turn},")
    rows.append(f"1,calc,,,5,{len(rows) - 1},,")
    trace = load("\n".join(rows) + "\n").trace
    assert len(trace.dependency) < 3000
    _, finish_s = unloaded_times(trace, 400.0)
    assert finish_s.max() == pytest.approx(5e-6, rel=0.01)
