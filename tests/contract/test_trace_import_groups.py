"""Which ranks files and process groups are of, where names and descriptions leave it open."""

import json

import pytest
from recorded_formats import et_node, framed, host_node, kineto_comm

from zcube.errors import InputError
from zcube.trace.importers.group_file import read_groups


def stage(group, ranks):
    node = {"Id": 1, "Name": "ar", "NodeType": 7, "data_deps": [], "is_cpu_op": False, "comm_type": 0, "comm_size": 1000}
    return json.dumps({"workload_graph": [node | ({"pg_name": group} if group else {})], "ngpus": ranks})


@pytest.mark.parametrize("groups", [[0, 0, 1, 1], [0, 1, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1]])
def test_a_group_that_nobody_describes_has_the_ranks_that_recorded_it(load, groups):
    imported = load({f"stg.{rank}.json": stage(str(group), len(groups)) for rank, group in enumerate(groups)})
    expected = [tuple(rank for rank, group in enumerate(groups) if group == number) for number in (0, 1)]
    assert sorted(imported.trace.groups) == sorted(expected)
    assert any("--groups" in note for note in imported.report.notes)


def test_some_files_of_a_job_do_not_tell_a_group(load):
    imported = load({"stg.0.json": stage("0", 8), "stg.3.json": stage("0", 8)})
    assert imported.trace.groups == (tuple(range(8)),)
    assert any("taken as all 8 ranks" in note for note in imported.report.notes)


def test_a_file_names_the_groups(load, tmp_path):
    named = tmp_path / "comm_group.json"
    named.write_text('{"0": [0, 4, 6], "1": [1, 3]}')
    files = {"stg.0.json": stage("0", 8), "stg.1.json": stage("1", 8)}
    assert sorted(load(files, groups=read_groups(named)).trace.groups) == [(0, 4, 6), (1, 3)]
    for text in ("[]", '{"0": [0, 0]}', '{"0": [-1]}', '{"0": 3}', '{"0": [true]}', "{}"):
        named.write_text(text)
        with pytest.raises(InputError):
            read_groups(named)


@pytest.mark.parametrize("name", ["ag_gpu8.{}.et", "job_rank4.{}.et", "x.16.{}.et", "worker-2.{}.et"])
def test_chakras_own_rule_for_names_comes_first(load, name):
    content = framed(et_node(1, "c", 7, comm_type=0, comm_size=64, is_cpu_op=False))
    imported = load({name.format(rank): content for rank in range(8)})
    assert imported.trace.groups == (tuple(range(8)),)
    assert imported.report.used == 8
    assert len(imported.trace) == 1


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("gpu8_rank3.json", 3),
        ("trace_gpu5.json", 5),
        ("et_rank_2.json", 2),
        ("h100_worker1.7.json", 7),
        ("rank1_of_rank6.json", 6),
    ],
)
def test_a_rank_is_told_by_the_most_telling_number_of_a_name(load, name, rank):
    event = kineto_comm(1, "send", 10, **{"Dst Rank": 0 if rank else 1})
    imported = load({name: json.dumps({"traceEvents": [event]})})
    assert imported.trace.source.tolist() == [rank]


@pytest.mark.parametrize("form", ["chakra", "kineto", "host"])
def test_two_files_of_one_rank_are_refused(load, form):
    content = {
        "chakra": stage("", 4),
        "kineto": json.dumps({"distributedInfo": {"rank": 2}, "traceEvents": [kineto_comm(1, "allreduce", 10)]}),
        "host": json.dumps({"schema": "1.0", "pid": 1, "nodes": [host_node(5, "allreduce", 10, rank=0, pg=["0", ""])]}),
    }[form]
    with pytest.raises(InputError, match="one file a rank"):
        load({"a.2.json": content, "b.2.json": content})


def test_an_execution_trace_without_a_description_has_the_ranks_that_recorded_it(load):
    """Ranks 0, 2 and 1, 3 of four call all-gathers of two; nothing says which ranks a group has."""
    files = {}
    for rank in range(4):
        node = host_node(5, "all_gather", 10, rank=rank // 2, world=2, pg=[f"g{rank % 2}", ""])
        files[f"et_rank{rank}.json"] = json.dumps({"schema": "1.0", "pid": 1, "nodes": [node]})
    assert sorted(load(files).trace.groups) == [(0, 2), (1, 3)]


def test_the_root_of_an_execution_trace_is_kept(load):
    files = {}
    for rank in range(3):
        node = host_node(5, "broadcast", 10, rank=2, world=3, pg=["0", ""])
        files[f"et_rank{rank}.json"] = json.dumps({"schema": "1.0", "pid": 1, "nodes": [node]})
    trace = load(files).trace
    assert (trace.source.tolist(), trace.groups) == ([2], ((0, 1, 2),))


@pytest.mark.parametrize("ranks", [2, 3])
def test_an_execution_trace_without_world_size_is_read(load, ranks):
    """Older versions end a record with its split sizes; the files are as many as the ranks."""
    files = {}
    for rank in range(ranks):
        node = host_node(5, "allreduce", 10, rank=rank, pg=["0", ""])
        node["inputs"]["values"].pop()
        files[f"et_rank{rank}.json"] = json.dumps({"schema": "1.0", "pid": 1, "nodes": [node]})
    imported = load(files)
    assert imported.trace.groups == (tuple(range(ranks)),)
    assert any("no world size" in note and "--groups" in note for note in imported.report.notes)
    assert load(files, groups={"0": [0, 1]}).trace.groups == ((0, 1),)
