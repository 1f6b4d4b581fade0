"""Where recorded ranks are: hosts and devices first, GPUs that containers name alike, launchers' prefixes."""

import json

import pytest
from recorded_formats import inspector, nccl_call, nccl_init

from zcube.errors import InputError
from zcube.trace.totals import totals


def rails(hosts, devices, count=1000):
    """A job whose communicators join the GPUs of one device number, one to a host."""
    text = ""
    for host in range(hosts):
        for device in range(devices):
            place = {"pid": 100 + 10 * host + device, "host": f"host{host}", "dev": device, "comm": 0xD0}
            text += nccl_init(host, hosts, comm_id=0xD00 + device, **place)
            text += nccl_call("AllReduce", count, 7, nranks=hosts, **place)
    return text


@pytest.mark.parametrize(("hosts", "devices"), [(2, 2), (3, 4), (4, 8), (2, 3)])
@pytest.mark.parametrize("told", [True, False])
def test_ranks_go_by_host_and_device(load, hosts, devices, told):
    imported = load(rails(hosts, devices), **({"ranks_per_node": devices} if told else {}))
    trace = imported.trace
    assert trace.ranks_per_node == devices
    assert sorted(trace.groups) == [tuple(range(device, hosts * devices, devices)) for device in range(devices)]
    from zcube.trace.collectives import expand

    assert totals(expand(trace)).in_node_bytes == 0
    assert totals(expand(trace)).cross_rail_bytes == 0


def test_hosts_that_contradict_the_nodes_are_noted(load):
    imported = load(rails(2, 2), ranks_per_node=8)
    assert imported.trace.ranks_per_node == 8
    assert any("hosts in the files have 2 ranks, nodes 8" in note for note in imported.report.notes)
    # Of an incomplete recording the place is a guess, which is said too.
    part = "".join(line + "\n" for line in rails(2, 2).splitlines() if "host0" in line)
    assert any("not all ranks were recorded" in note for note in load(part, ranks_per_node=2).report.notes)


def test_hosts_of_different_numbers_of_gpus_keep_a_node_each(load):
    places = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]
    text = "".join(
        nccl_init(rank, 5, pid=rank + 1, host=host, dev=device)
        + nccl_call("AllReduce", 9, 7, nranks=5, pid=rank + 1, host=host)
        for rank, (host, device) in enumerate(places)
    )
    trace = load(text).trace
    assert (trace.ranks_per_node, trace.groups) == (3, ((0, 1, 2, 3, 4),))
    other = text.replace("a:", "x:").replace("b:", "a:").replace("x:", "b:")
    assert load(other).trace.groups == ((0, 1, 2, 3, 4),)


def test_a_world_that_deals_ranks_over_hosts_is_numbered_by_host(load):
    """Ranks 0, 2 on one host and 1, 3 on the other, as mpirun --map-by node deals them."""
    text = "".join(
        nccl_init(rank, 4, pid=rank + 1, host=f"h{rank % 2}", dev=rank // 2)
        + nccl_call("AllReduce", 9, 7, nranks=4, pid=rank + 1, host=f"h{rank % 2}", dev=rank // 2)
        for rank in range(4)
    )
    imported = load(text)
    assert imported.trace.groups == ((0, 2, 1, 3),)
    assert any("another order" in note for note in imported.report.notes)


@pytest.mark.parametrize(("hosts", "devices"), [(2, 2), (3, 4)])
def test_inspector_ranks_go_by_host(load, hosts, devices):
    records = []
    for host in range(hosts):
        for device in range(devices):
            record = inspector(host, hosts, "AllReduce", 4096, 0, ts=1000, comm=f"0x{device:x}")
            record["metadata"] |= {"hostname": f"host{host}", "pid": 100 + device}
            records.append(record | {"header": record["header"] | {"nnodes": hosts}})
    trace = load("\n".join(map(json.dumps, records))).trace
    assert trace.ranks_per_node == devices
    assert sorted(trace.groups) == [tuple(range(device, hosts * devices, devices)) for device in range(devices)]


@pytest.mark.parametrize("same_bus", [False, True])
@pytest.mark.parametrize("ranks", [4, 6])
def test_containers_of_one_name_are_told_apart_by_bus_and_file(load, ranks, same_bus):
    """One GPU a container: host, process and device number are the same in all."""
    parts = []
    for rank in range(ranks):
        half = rank % 2
        text = nccl_init(rank, ranks, comm=0xA0, pid=7, comm_id=1) + nccl_init(
            rank // 2, ranks // 2, comm=0xB0, pid=7, comm_id=10 + half
        )
        text += nccl_call("AllReduce", 1000 + half, 7, comm=0xB0, nranks=ranks // 2, pid=7)
        parts.append(text if same_bus else text.replace("busId 1b000", f"busId {rank + 1}b000"))
    trace = load(*parts).trace
    assert sorted(trace.groups) == [tuple(range(0, ranks, 2)), tuple(range(1, ranks, 2))]
    assert sorted(trace.size_bytes.tolist()) == [4000, 4004]


def test_a_log_that_goes_on_in_another_file_is_of_one_process(load):
    first = "".join(nccl_init(rank, 4, pid=10 + rank, dev=rank) for rank in range(4))
    second = "".join(
        nccl_init(rank // 2, 2, comm=0xB0, pid=10 + rank, dev=rank, comm_id=10 + rank % 2)
        + nccl_call("AllReduce", 8, 7, comm=0xB0, pid=10 + rank, dev=rank)
        + nccl_call("AllReduce", 9, 7, nranks=4, pid=10 + rank, dev=rank)
        for rank in range(4)
    )
    assert sorted(load(first, second).trace.groups) == [(0, 1, 2, 3), (0, 2), (1, 3)]


PREFIXES = (
    "(RayTrainWorker pid=615, ip=10.0.0.6) ", "(pid=7) ", "3: ", "12: ", "[default3]:", "[1,3]<stdout>:",
    "[prterun-a-17@1,3]<stdout>: ", "2025-06-01T10:00:00.123456789Z ", "[pod/job-0/main] 2025-06-01T10:00:00.1Z ",
    "worker-1  | ", "job 7> ",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_line_counts_wherever_it_begins(load, prefix):
    plain = "".join(
        nccl_init(rank, 3, pid=rank + 1, dev=rank) + nccl_call("AllReduce", 1000, 7, nranks=3, pid=rank + 1, dev=rank)
        for rank in range(3)
    )
    imported = load("".join(prefix + line + "\n" for line in plain.splitlines()))
    assert (imported.report.read, imported.report.used) == (6, 3)
    assert imported.trace.size_bytes.tolist() == [4000]
    assert imported.trace.groups == ((0, 1, 2),)


def test_writers_that_ran_into_each_other_in_a_line_are_both_read(load):
    lines = [nccl_init(rank, 2, pid=rank + 1, dev=rank) for rank in range(2)]
    lines += [nccl_call("AllReduce", 1000, 7, pid=rank + 1, dev=rank) for rank in range(2)]
    imported = load(lines[0].rstrip("\n") + " " + lines[1] + lines[2].rstrip("\n") + " " + lines[3])
    assert imported.report.used == 2
    assert imported.report.read == 4
    assert imported.report.files[0].used + sum(imported.report.skipped.values()) == 4


def test_containers_in_one_file_are_told_apart_by_their_prefix(load):
    """kubectl logs --prefix of pods that give host, process, device and bus alike."""
    text = ""
    for rank in range(4):
        pod = f"[pod/job-{rank}/main] "
        for line in (
            nccl_init(rank, 4, comm=0xA0, pid=7, comm_id=1),
            nccl_init(rank // 2, 2, comm=0xB0, pid=7, comm_id=10 + rank % 2),
            nccl_call("AllReduce", 1000, 7, comm=0xB0, pid=7),
        ):
            text += pod + line
    assert sorted(load(text).trace.groups) == [(0, 2), (1, 3)]


def test_lines_that_ray_left_out_are_noted(load):
    text = nccl_init(0, 2) + nccl_init(1, 2, pid=9, dev=1)
    text += nccl_call("AllReduce", 8, 7).rstrip("\n") + " [repeated 2x across cluster]\n"
    imported = load(text)
    assert imported.report.used == 1
    assert any("RAY_DEDUP_LOGS=0" in note for note in imported.report.notes)


def old_init(rank, nranks, comm, pid, dev):
    """NCCL 2.16 and before: no nvmlDev, no commId."""
    return (
        f"node1:{pid}:{pid + 68} [{dev}] NCCL INFO comm {comm:#x} rank {rank} nranks {nranks} cudaDev {dev} busId {dev + 1}b000"
        " - Init COMPLETE\n"
    )


def test_communicators_without_a_name_are_found_by_size_and_turn(load):
    text = "".join(old_init(rank, 4, 0xA0, 10 + rank, rank) for rank in range(4))
    calls = "".join(nccl_call("AllReduce", 9, 7, comm=0xA0, nranks=4, pid=10 + rank, dev=rank) for rank in range(4))
    assert load(text + calls).trace.groups == ((0, 1, 2, 3),)
    pairs = "".join(
        old_init(rank // 2, 2, 0xB0, 10 + rank, rank) + nccl_call("AllReduce", 9, 7, comm=0xB0, pid=10 + rank, dev=rank)
        for rank in range(4)
    )
    imported = load(text + calls + pairs)
    assert imported.trace.groups == ((0, 1, 2, 3),)
    assert any("NCCL 2.17" in note for note in imported.report.notes)
    with pytest.raises(InputError, match="NCCL_DEBUG_SUBSYS needs INIT"):
        load(calls)
