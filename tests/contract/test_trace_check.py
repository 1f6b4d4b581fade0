"""``zcube trace check``: what recordings could be replayed as, what is missing, how sure the placement is."""

import json

import pytest
from recorded_formats import et_node, framed, kineto_comm, nccl_call, nccl_init

from zcube.cli import main
from zcube.errors import InputError
from zcube.trace.importers.calls import Options
from zcube.trace.importers.catalog import import_trace
from zcube.trace.importers.checking import check_recordings


def written(tmp_path, files):
    paths = []
    for name, content in files.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
    return paths


def nccl(rank, ranks, host, calls=1):
    place = {"host": host, "pid": 10 + rank, "dev": rank % 2}
    return nccl_init(rank, ranks, **place) + nccl_call("AllReduce", 1000, 7, **place) * calls


def checked(paths, **options):
    (found,) = [each.document() for each in check_recordings(paths, Options(**options))]
    return found


def missing(document):
    return {each["what"]: each["found"] for each in document["missing"]}


def test_hosts_of_all_ranks_place_them_and_are_said_to(tmp_path):
    paths = written(tmp_path, {f"{rank}.log": nccl(rank, 4, f"h{rank // 2}", calls=3) for rank in range(4)})
    found = checked(paths)
    assert found["placement"] == {"how": "recorded", "hosts": 2, "ranks_per_node": 2, "nodes": 2}
    assert found["replayable"]["collectives"] == found["replayable"]["operations"] == 3
    assert found["replayable"]["bytes_by_operation"] == {"all-reduce": 12_000}
    assert missing(found) == {"times": "12 of 12 calls have no start", "durations": "3 of 3 operations"}
    assert [(file["ranks"]["first"], file["collectives"], file["sizes"], file["starts"]) for file in found["files"]] == [
        (rank, 3, 3, 0) for rank in range(4)
    ]


@pytest.mark.parametrize(("options", "how"), [({}, "partly recorded"), ({"ranks_per_node": 2}, "given")])
def test_ranks_that_nobody_recorded_are_named(tmp_path, options, how):
    paths = written(tmp_path, {f"{rank}.log": nccl(rank, 4, f"h{rank // 2}") for rank in (0, 3)})
    found = checked(paths, **options)
    assert found["placement"]["how"] == ("partly recorded" if found["placement"]["hosts"] else how)
    assert missing(found)["ranks"] == "2 of 4 ranks have no record: 1, 2"
    assert any("some of their ranks" in doubt for doubt in found["doubts"])


def test_what_no_file_says_is_missing_with_its_cure(tmp_path):
    """Chakra: a send without its peer, a collective without size, no hosts, no times."""
    content = framed(b"") + framed(et_node(1, "s", 5, comm_size=10)) + framed(et_node(2, "c", 7, comm_type=0))
    content += framed(et_node(3, "c", 7, comm_type=0, comm_size=64))
    found = checked(written(tmp_path, {"t.0.et": content, "t.1.et": content}))
    assert found["placement"]["how"] == "assumed"
    assert set(missing(found)) == {"peers", "sizes", "times", "hosts"}
    assert missing(found)["peers"] == "2 x a send or receive without comm_dst"
    assert missing(found)["sizes"].startswith("2 x a collective without comm_size")
    assert all(each["cure"] for each in found["missing"])
    assert checked(written(tmp_path, {"t.0.et": content, "t.1.et": content}), ranks_per_node=1)["placement"]["how"] == "given"


def test_calls_before_their_communicator_was_named_lack_groups(tmp_path):
    text = nccl(0, 1, "h0") + nccl(0, 2, "h0") + nccl_call("AllReduce", 5, 7, comm=0xBAD)
    found = checked(written(tmp_path, {"a.log": text.replace("comm 0x55d0c8a0 rank 0 nranks 1", "x")}))
    assert missing(found)["groups"].startswith("1 x a call of a communicator without its set-up line")


def test_a_file_that_breaks_off_is_a_doubt(tmp_path):
    found = checked(written(tmp_path, {"a.log": nccl(0, 2, "h0") + nccl_call("AllReduce", 5, 7)[:60]}))
    assert "1 break off, the first at" in missing(found)["whole files"] or "cut short" in missing(found)["whole files"]
    assert found["files"][0]["broken"]


def test_several_formats_are_several_jobs_and_the_verb_says_so(tmp_path, capsys):
    event = json.dumps({"distributedInfo": {"rank": 0, "world_size": 4}, "traceEvents": [kineto_comm(1, "allreduce", 10)]})
    paths = written(tmp_path, {"a.log": nccl(0, 2, "h0"), "k.json": event})
    for json_too in ([], ["--json"]):
        with pytest.raises(SystemExit) as done:
            main(["trace", "check", *map(str, paths), *json_too])
        assert not done.value.code
        said = capsys.readouterr().out
        if json_too:
            assert [each["format"] for each in json.loads(said)["recordings"]] == ["nccl-log", "kineto"]
        else:
            assert "2 formats: each is a job of its own" in said
            assert "Placement    recorded" not in said and "Missing      hosts: no file names hosts" in said


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt", "hello\n", "cannot be told"),
        ("b.log", nccl_call("AllReduce", 5, 7), "none of use"),
        ("c.log", "", "a file of 0 bytes"),
    ],
)
def test_what_cannot_be_read_is_exit_status_2(tmp_path, capsys, name, content, found):
    (path,) = written(tmp_path, {name: content})
    with pytest.raises(SystemExit) as done:
        main(["trace", "check", str(path)])
    assert done.value.code == 2
    assert found in capsys.readouterr().err
    with pytest.raises(InputError):
        check_recordings([tmp_path / "none"], Options())


def test_a_check_says_what_an_import_makes(tmp_path):
    paths = written(tmp_path, {f"{rank}.log": nccl(rank, 2, "h") for rank in range(2)})
    found, imported = checked(paths), import_trace(paths)
    assert found["doubts"] == list(imported.report.notes)
    assert found["replayable"]["operations"] == len(imported.trace)


def test_flows_of_some_hosts_are_whole_and_ordered_by_their_starts(tmp_path):
    found = checked(written(tmp_path, {"flow.txt": "2\n2 1 3 100 5000 2\n3 1 3 100 7000 2\n"}))
    assert found["replayable"]["order"] == "recorded starts"
    assert set(missing(found)) == {"durations"} and found["placement"]["how"] == "recorded"


FLOWS = "2\n2 1 3 100 200000000 2\n3 1 3 100 150000000 2.5\n"
#: Switch 0, hosts 1 to 3.
TOPOLOGY = "4 1 3\n0\n0 1 100Gbps 1us 0\n0 2 100Gbps 1us 0\n0 3 100Gbps 1us 0\n"


def told(run, *command):
    status, out, err = run("trace", "check", *command, "--json")
    assert status == 0, err
    (found,) = json.loads(out)["recordings"]
    return found


def test_a_topology_says_what_ranks_are_as_in_an_import(run, tmp_path):
    flows, topology = written(tmp_path, {"flow.txt": FLOWS, "topology.txt": TOPOLOGY})
    assert told(run, flows)["replayable"]["ranks"] == 4
    found = told(run, flows, "--topology", topology)
    assert (found["replayable"]["ranks"], found["replayable"]["transfers"]) == (3, 2)


def test_ends_of_kv_transfers_are_those_given_as_in_an_import(run, tmp_path):
    line = (
        "[2025-06-01 10:00:01 TP0] Req Time Stats(rid=a1, input len=9, output len=1, type=prefill): "
        "transfer_speed=12.50 GB/s, transfer_total=250.00 MB, #retries=0\n"
    )
    (log,) = written(tmp_path, {"kv.log": line})
    assert told(run, log)["replayable"]["ranks"] == 9
    assert told(run, log, "--source-rank", "4", "--target-rank", "20")["replayable"]["ranks"] == 21
    status, _, err = run("trace", "check", log, "--source-rank", "4", "--target-rank", "4")
    assert (status, "target_rank: found 4" in err) == (2, True)


def test_check_takes_every_option_of_an_import_that_says_how_to_read():
    from inspect import signature

    from zcube.cli.trace import check_command, import_command

    taken, offered = (set(signature(command).parameters) for command in (check_command, import_command))
    assert offered - taken == {"out", "form"}
