"""All-to-alls of uneven parts: idle ranks, rows and lists, execution traces, lists that are cut short, a real job."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_formats import host_node, kineto_comm

from zcube.trace.comm_trace import Kind
from zcube.trace.importers.catalog import import_trace
from zcube.trace.importers.splits import split_units


def profile(rank, splits, *, received=None, width=1, cut=None, ranks=None, listed=True):
    """One rank's profile of an all-to-all of rows of ``width`` elements of two bytes."""

    def text(parts):
        if not listed:
            return "[]"
        if cut is None or len(parts) <= cut:
            return str(list(parts))
        return "[" + ", ".join(map(str, parts[:cut])) + ", ...]"

    count = ranks or len(splits)
    event = kineto_comm(
        1, "all_to_allv", sum(splits) * width, dtype="BFloat16", group_size=count, ranks=str(list(range(count))),
        **{"In split size": text(splits), "Out split size": text(received) if received is not None else "[]"},
    )  # fmt: skip
    return json.dumps({"distributedInfo": {"rank": rank, "world_size": count}, "traceEvents": [event]})


def host(rank, splits, *, received=None, width=1):
    count = len(splits)
    node = host_node(9, "all_to_allv", sum(splits) * width, rank=rank, world=count, pg=["0", "default_pg"])
    node["inputs"]["values"][5:7] = [list(splits), list(received or [])]
    groups = json.dumps([{"pg_name": "0", "ranks": [], "group_size": count}])
    named = {"id": 3, "name": "## process_group:init ##", "inputs": {"values": [groups]}, "outputs": {}, "attrs": []}
    return json.dumps({"schema": "1.1.1-chakra.0.0.4", "pid": 1, "nodes": [named, node]})


def sent(trace):
    """Return bytes by source and target of the transfers."""
    table = np.zeros((trace.ranks, trace.ranks), dtype=np.int64)
    rows = trace.rows(Kind.TRANSFER)
    np.add.at(table, (trace.source[rows], trace.target[rows]), trace.size_bytes[rows])
    return table


def off_diagonal(matrix):
    return matrix * (1 - np.eye(len(matrix), dtype=np.int64))


WRITERS = pytest.mark.parametrize("write", [profile, host])


@WRITERS
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_idle_ranks_leave_the_parts_uneven(load, write, ranks):
    """Only rank 0 has anything to send, to the last; the others' parts are zero and parts still."""
    splits = np.zeros((ranks, ranks), dtype=np.int64)
    splits[0, -1] = 1000
    trace = load([write(rank, splits[rank].tolist()) for rank in range(ranks)]).trace
    assert (sent(trace) == 2 * splits).all()
    assert not len(trace.rows(Kind.COLLECTIVE))


@WRITERS
@pytest.mark.parametrize("width", [1, 128])
def test_parts_may_be_rows(load, write, width):
    splits = np.array([[1, 0, 3], [4, 2, 2], [0, 5, 0]])
    trace = load([write(rank, splits[rank].tolist(), width=width) for rank in range(3)]).trace
    assert (sent(trace) == off_diagonal(2 * width * splits)).all()


@WRITERS
def test_equal_parts_stay_one_collective(load, write):
    trace = load([write(rank, [16, 16, 16], width=4) for rank in range(3)]).trace
    assert trace.rows(Kind.COLLECTIVE).tolist() == [0]
    assert trace.size_bytes.tolist() == [2 * 4 * 48]


@settings(max_examples=80)
@given(st.data())
def test_every_part_is_what_the_file_says(tmp_path_factory, data):
    ranks, width = data.draw(st.integers(2, 6)), data.draw(st.sampled_from([1, 7, 128]))
    numbers = st.lists(st.integers(0, 40), min_size=ranks, max_size=ranks)
    splits = np.array(data.draw(st.lists(numbers, min_size=ranks, max_size=ranks)))
    write = data.draw(st.sampled_from([profile, host]))
    if len(set(off_diagonal(splits)[~np.eye(ranks, dtype=bool)].tolist())) == 1:
        splits[0, -1] += 1
    folder = tmp_path_factory.mktemp("parts")
    paths = [folder / f"rank{rank}.json" for rank in range(ranks)]
    for rank, path in enumerate(paths):
        path.write_text(write(rank, splits[rank].tolist(), width=width))
    assert (sent(import_trace(paths).trace) == off_diagonal(2 * width * splits)).all()


@pytest.mark.parametrize(("ranks", "cut"), [(32, 30), (36, 30), (8, 5)])
@pytest.mark.parametrize("width", [1, 64])
def test_lists_that_are_cut_short_are_completed_by_the_receivers(load, ranks, cut, width):
    """All but the parts among the last ranks stand in somebody's list; those are what is left of a rank's buffer."""
    generator = np.random.default_rng(ranks + width)
    splits = generator.integers(0, 50, (ranks, ranks))
    contents = [
        profile(rank, splits[rank].tolist(), received=splits[:, rank].tolist(), width=width, cut=cut) for rank in range(ranks)
    ]
    imported = load(contents)
    found = sent(imported.trace)
    expected = off_diagonal(2 * width * splits)
    assert (found[:cut] == expected[:cut]).all()
    assert (found[:, :cut] == expected[:, :cut]).all()
    # Of the rest, what belongs to its own rank is among the parts that share what is left.
    assert (found[cut:].sum(axis=1) <= 2 * width * splits[cut:].sum(axis=1)).all()
    count = (ranks - cut) ** 2
    assert any(
        note.startswith(f"{count} parts of all-to-alls stand in lists that are cut short") for note in imported.report.notes
    )


def test_equal_parts_of_a_list_that_is_cut_short_stay_one_collective(load):
    imported = load([profile(rank, [4] * 32, received=[4] * 32, width=2, cut=30) for rank in range(32)])
    assert imported.trace.size_bytes.tolist() == [2 * 2 * 4 * 32]
    assert any("cut short" in note for note in imported.report.notes)


def test_what_a_list_may_say():
    assert split_units([1, 2], None, 2, 6) == (1, 2)
    assert split_units([1, 2], None, 3, 6) is None
    assert split_units([1], [4], 4, 6) == (1, None, None, 4)
    assert split_units([], None, 4, 8) == (1, 1, 1, 1)
    assert split_units([], None, 4, 0) == (0, 0, 0, 0)
    assert split_units([], None, 4, 6) is None


@pytest.mark.parametrize("form", ["et", "kineto"])
def test_a_recorded_job_sends_the_bytes_its_calls_had(form, shared_data):
    """One step of a job on four H100, recorded by PyTorch; what each call had stands in the truth files."""
    recorded = shared_data / "h100x4-recorded"
    if not recorded.is_dir():
        pytest.skip(f"no recording at {recorded}")
    truth = [json.loads((recorded / f"truth_rank{rank}.json").read_text()) for rank in range(4)]
    trace = import_trace([recorded / f"{form}_rank{rank}.json.gz" for rank in range(4)]).trace
    moved = {
        name: sum(call["bytes_sent_by_me"] for part in truth for call in part["calls"] if call["op"] == name)
        for name in ("all_to_all_uneven", "all_to_all_list", "batch_isend_irecv_ring", "send_0_to_1")
    }
    assert moved["all_to_all_uneven"] == 51_040
    transfers = trace.rows(Kind.TRANSFER)
    by_name = {
        name: int(trace.size_bytes[[row for row in transfers if trace.names[trace.name[row]] == name]].sum())
        for name in ("all-to-all", "send-receive")
    }
    assert by_name["all-to-all"] == moved["all_to_all_uneven"] + moved["all_to_all_list"]
    assert by_name["send-receive"] == moved["batch_isend_irecv_ring"] + moved["send_0_to_1"]
    even = [row for row in trace.rows(Kind.COLLECTIVE) if trace.names[trace.name[row]] == "all-to-all"]
    assert sorted(trace.size_bytes[even].tolist()) == [16384, 32768, 32768]


def test_the_log_of_the_same_job_moves_the_same_bytes(shared_data):
    """NCCL logs an uneven all-to-all, a gather and a scatter as sends and receives; three steps, then two even all-to-alls."""
    recorded = shared_data / "h100x4-recorded"
    if not recorded.is_dir():
        pytest.skip(f"no recording at {recorded}")
    trace = import_trace(sorted(recorded.glob("nccl.vm.*.log.gz"))).trace
    transfers = trace.rows(Kind.TRANSFER)
    step = 51_040 + 49_152 + 61_440 + 72_000 + 8_888 + 4_800 + 3_600
    assert int(trace.size_bytes[transfers].sum()) == 3 * step
    assert set(trace.groups) == {(0, 1, 2, 3), (0, 1), (2, 3), (0, 2)}
