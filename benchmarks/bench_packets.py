"""Time the packet model on the permutations that packet simulators are compared by, and on an all-to-all.

    python benchmarks/bench_packets.py [--only permutation-128]... [--repeats 3] [--htsim .../sim/datacenter/htsim_roce]

Every host sends to one other on a two-tier 400G leaf-spine without oversubscription, one ECMP queue pair a transfer, 4 KiB
packets, PFC, ECN and DCQCN on; three cases spread the packets of a queue pair over all equal paths, in turn, at random and
by queue depth, and three are carried by other controls under their bundled transports (MRC over all equal paths, NSCC and
HPCC on one by ECMP), acknowledged as each asks. The all-to-all is that of 256 GPUs of ZCube(16,2), 1 MiB a pair. A
packet-hop is a data packet transmitted over one link. The rate is per second of the process's own CPU time, best of the
repeats; kernels are compiled before. Each repeat must process the stated number of events and end at the same picosecond.
Bounds: 6 and 4 million packet-hops a second for the permutations, 5 where packets are spread without a look at queues, 4
where with one, 2.5 under MRC, 2 under NSCC and 1.5 under HPCC, 90 s for the all-to-all.

With ``--old BUILD`` (a Python that has another build, or a command that stands for one), cases of packets on one path under
DCQCN run in both by turns, ``--repeats`` times in each of ``--processes`` pairs of processes: what a processor gives moves by a
third within minutes, and a process's memory lies better or worse. Printed are medians, the ratio of neighbours' times with its
least and most, what tables take, and the largest resident memory of a process after its first run.

With ``--htsim`` the RoCE simulator of htsim (github.com/Broadcom/csg-htsim, built with its make) carries the same permutations
over as many leaves and uplinks, without congestion control: its whole CPU time, best of the repeats; its packet-hops are taken
to be as many.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peak_memory import own_peak_bytes

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.model import Fabric
from zcube.fabric.spec import SwitchSpec
from zcube.network.packet.model import PacketModel, packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes
    ----------
    fabric : callable
        Builds the fabric.
    flows : callable
        Gives its transfers.
    least_rate : float
        Packet-hops per second to reach, 0 for none.
    most_s : float
        CPU time not to exceed.
    events : int
        Events the run has; a change that alters it alters what is simulated.
    leaf_ports : int
        Of its leaves, where htsim can carry it too.
    path_choice : str
        How packets take paths: ``static`` on one by ECMP, else one of all equal paths.
    transport : str
        Bundled transport that says all of it instead, none where empty.
    """

    fabric: Callable[[], Fabric]
    flows: Callable[[Fabric], FlowTable]
    least_rate: float
    most_s: float
    events: int
    leaf_ports: int = 0
    path_choice: str = "static"
    transport: str = ""


def leaf_spine(hosts: int, ports: int) -> Fabric:
    switch = SwitchSpec(model="bench", ports=ports, port_gbps=400)
    spec = SpineLeafSpec(gpus=hosts, gpus_per_server=1, nic_gbps=400, rail_optimised=False, switch=switch)
    return spec.build(f"leaf-spine-{hosts}")


def permutation(fabric: Fabric, size_bytes: int) -> FlowTable:
    """Return one transfer per host, none to itself."""
    cycle = stream(0, "permutation").permutation(fabric.gpus)
    target = np.empty(fabric.gpus, dtype=np.int64)
    target[cycle] = np.roll(cycle, -1)
    return FlowTable(np.arange(fabric.gpus), target, np.full(fabric.gpus, float(size_bytes)), np.zeros(fabric.gpus))


def all_to_all(fabric: Fabric) -> FlowTable:
    source, target = (axis.ravel() for axis in np.indices((fabric.gpus, fabric.gpus)))
    pairs = source != target
    flows = int(pairs.sum())
    return FlowTable(source[pairs], target[pairs], np.full(flows, float(MIB)), np.zeros(flows))


CASES = {
    "permutation-128": Case(
        lambda: leaf_spine(128, 32), lambda fabric: permutation(fabric, 8 * MIB), 6e6, np.inf, 1_377_105, 32
    ),
    "permutation-1024": Case(
        lambda: leaf_spine(1024, 64), lambda fabric: permutation(fabric, 2 * MIB), 4e6, np.inf, 3_172_029, 64
    ),
    **{
        f"{name}-1024": Case(
            lambda: leaf_spine(1024, 64), lambda fabric: permutation(fabric, 2 * MIB), rate, np.inf, events, **{setting: name}
        )
        for setting, name, events, rate in (
            ("path_choice", "spray", 3_725_688, 5e6),
            ("path_choice", "spray-random", 3_971_854, 5e6),
            ("path_choice", "adaptive-every-switch", 3_718_730, 4e6),
            ("transport", "mrc-2026", 4_774_264, 2.5e6),
            ("transport", "nscc", 3_906_769, 2e6),
            ("transport", "hpcc", 4_074_048, 1.5e6),
        )
    },
    "all-to-all-n16": Case(lambda: load_fabric("zcube-n16"), all_to_all, 0.0, 90.0, 117_003_435),
}


def built(fabric: Fabric, case: Case) -> PacketModel:
    """Return the model of a case."""
    if case.transport:
        # Another build may not know of it.
        from zcube.network.transports import checked_network, load_transport

        network = checked_network({}, load_transport(case.transport), fabric.family, "packet", fabric.nic_ports)
        model = network.on(fabric).model()
        assert isinstance(model, PacketModel)
        return model
    if case.path_choice == "static":
        return packet_model(fabric, routing_for(fabric, queue_pairs=1), PacketSettings(congestion_control="dcqcn"))
    routing = routing_for(fabric, "equal-paths", queue_pairs=1)
    return packet_model(fabric, routing, PacketSettings(congestion_control="dcqcn", path_choice=case.path_choice))


def measured(fabric: Fabric, flows: FlowTable, case: Case) -> tuple[PacketModel, float]:
    """Run once and return the model and the CPU time of moving the packets."""
    model = built(fabric, case)
    model.send(flows)
    started = time.process_time()
    model.advance(float("inf"))
    return model, time.process_time() - started


def answer(name: str) -> None:
    """Run a case once for every line that is read, with kernels compiled before, and tell its time, events and memory."""
    case = CASES[name]
    fabric = case.fabric()
    flows = case.flows(fabric)
    # So much that it is not run as written.
    measured(fabric, permutation(fabric, 8 * MIB), case)
    for _ in sys.stdin:
        model, taken_s = measured(fabric, flows, case)
        print(taken_s, model.counts.events, model.memory_bytes, own_peak_bytes(), flush=True)


def by_turns(name: str, builds: tuple[str, str], processes: int, repeats: int) -> None:
    """Print a row on a case in an old build and a new one."""
    taken: tuple[list[list[float]], list[list[float]]] = ([], [])
    call = [str(Path(__file__).resolve()), "--answer", name]
    for _ in range(processes):
        asked = [
            subprocess.Popen([*shlex.split(build), *call], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for build in builds
        ]
        for _ in range(repeats):
            for process, rows in zip(asked, taken, strict=True):
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                rows.append([float(word) for word in process.stdout.readline().split()])
        for process in asked:
            process.communicate()
    old, new = (np.array(rows) for rows in taken)
    assert np.all(old[:, 1] == old[0, 1]) and np.all(new[:, 1] == new[0, 1]), f"{name} does not repeat"
    ratios = old[:, 0] / new[:, 0]
    print(
        f"{name:18}{np.median(old[:, 0]):10.3f}{np.median(new[:, 0]):10.3f}{np.median(ratios):8.2f}{ratios.min():8.2f}"
        f"{ratios.max():8.2f}{old[0, 2] / 1e6:10.1f}{new[0, 2] / 1e6:10.1f}"
        f"{old[::repeats, 3].max() / 1e6:14.1f}{new[::repeats, 3].max() / 1e6:10.1f}"
    )


def htsim_s(program: Path, leaf_ports: int, flows: FlowTable) -> float:
    """Return the CPU time that htsim takes for a permutation over leaves that have half their ports up, its start included."""
    hosts, half = len(flows), leaf_ports // 2
    tiers = [(f"Radix_Down {half}", f"Radix_Up {half}"), (f"Radix_Down {hosts // half}",)]
    topology = [f"Nodes {hosts}", "Tiers 2", f"Podsize {hosts}"]
    for tier, radixes in enumerate(tiers):
        topology += ["", f"Tier {tier}", "Downlink_speed_Gbps 400", *radixes, "Downlink_Latency_ns 500", "Switch_Latency_ns 0"]
    rows = zip(flows.source.tolist(), flows.target.tolist(), flows.size_bytes.astype(int).tolist())
    matrix = [f"Nodes {hosts}", f"Connections {hosts}"]
    matrix += [f"{source}->{target} id {at} start 0 size {size}" for at, (source, target, size) in enumerate(rows, 1)]
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in (("fabric.topo", topology), ("flows.cm", matrix)):
            (Path(folder) / name).write_text("\n".join(lines) + "\n")
        options = "-topo fabric.topo -tm flows.cm -o log -tiers 2 -linkspeed 400000 -mtu 4096 -end 20000 -q 800"
        options += " -strat ecmp_host -paths 16"
        before = os.times()
        done = subprocess.run(
            [program.resolve(), *options.split(), "-nodes", str(hosts)], cwd=folder, capture_output=True, text=True, check=True
        )
        after = os.times()
    assert done.stdout.count("finished at") == hosts, done.stdout[-500:]
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print one row per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--htsim", type=Path, help="htsim's RoCE simulator, built")
    parser.add_argument("--old", help="a build to run beside this one")
    parser.add_argument("--processes", type=int, default=3, help="of each build")
    parser.add_argument("--answer", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(arguments.answer)
        return
    if arguments.old:
        print(
            f"{'':18}{'old, s':>10}{'new, s':>10}{'ratio':>8}{'least':>8}{'most':>8}{'old, MB':>10}{'new, MB':>10}"
            f"{'old peak, MB':>14}{'new':>10}"
        )
        for name in arguments.only or ("permutation-128", "permutation-1024", "all-to-all-n16"):
            by_turns(name, (arguments.old, sys.executable), arguments.processes, arguments.repeats)
        return
    print(f"{'':18}{'hops':>12}{'events':>12}{'CPU, s':>9}{'M hops/s':>10}{'last, us':>11}{'pauses':>9}{'cuts':>8}{'MB':>8}")
    slow = []
    for name in arguments.only or CASES:
        case = CASES[name]
        fabric = case.fabric()
        flows = case.flows(fabric)
        tiny = leaf_spine(8, 8)
        measured(tiny, permutation(tiny, MIB), case)
        seen, best_s = set(), float("inf")
        for _ in range(arguments.repeats if case.least_rate else 1):
            model, taken_s = measured(fabric, flows, case)
            last_s = float(model.completions().finish_s.max())
            seen.add((model.counts, last_s))
            best_s = min(best_s, taken_s)
        assert len(seen) == 1, f"{name} does not repeat: {seen}"
        counts, rate = model.counts, model.counts.packet_hops / best_s
        assert counts.drops == 0 and counts.events == case.events, f"{name}: {counts}"
        print(
            f"{name:18}{counts.packet_hops:12,}{counts.events:12,}{best_s:9.2f}{rate / 1e6:10.2f}{last_s * 1e6:11.1f}"
            f"{counts.pauses:9,}{counts.rate_cuts:8,}{model.memory_bytes / 1e6:8.1f}"
        )
        if arguments.htsim and case.leaf_ports:
            theirs_s = min(htsim_s(arguments.htsim, case.leaf_ports, flows) for _ in range(arguments.repeats))
            theirs = counts.packet_hops / theirs_s
            print(f"  htsim: {theirs_s:.2f} s, {theirs / 1e6:.2f} M hops/s; {rate / theirs:.1f} times as many here")
        if rate < case.least_rate or best_s > case.most_s:
            slow.append(name)
    assert not slow, f"slower than their bounds: {slow}"


if __name__ == "__main__":
    main()
