"""Compare runs that skip what is steady, or reuse what repeats, with runs packet by packet: events, CPU time, times, pauses.

    python benchmarks/bench_packet_skip.py [--only permutation-roft]... [--seeds 3] [--transfers 600] [--packets]

The first cases, cells of 64 KiB, are those that settings were chosen with: permutations of 1 GiB among 1,024 GPUs; the KV
funnel of ``packet_funnel.py`` with its real thresholds, with and without DCQCN; expert-parallel prefill, in which groups
of 32 GPUs of four servers exchange over their rails, layer after layer. The cases ``other-...`` were looked at only afterwards:
other fabrics, sizes, cells, controls and arrivals.

Times of all seeds of the marks are taken together. ``noise`` is the standard error of what it stands behind, from what the
seeds of the full run differ by: under a control that marks at random who is cut first is chance. ``ports`` is the sum over
ports of what their pauses differ by, over the pauses of the full run; behind it what two seeds of the full run differ by.
Kernels are compiled before.

With ``--packets`` all stand beside the full run in packets of 4 KiB, which takes minutes a case: the full run in cells, and
what is steady advanced in cells and in packets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from bench_packets import permutation
from packet_funnel import Funnel

from zcube.arrays import FloatArray, IntArray
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

GIB = 1 << 30
CELL_BYTES = 64 << 10
PACKET_BYTES = 4 << 10
#: EP32: GPUs of a group, bytes from one of its servers' GPUs to the same rail of another in a layer, time between layers.
GROUP, LAYERS, EXCHANGE_BYTES, LAYER_S = 32, 8, 16e6, 2e-3


@dataclass(frozen=True)
class Case:
    """What is run: a fabric, its transfers by the largest number of them, and how they are sent."""

    fabric: str
    flows: Callable[[Fabric, int], FlowTable]
    queue_pairs: int = 1
    control: str = "dcqcn"
    cell_bytes: int = CELL_BYTES
    quantum: float = 0.0


def permuted(size_bytes: int) -> Callable[[Fabric, int], FlowTable]:
    return lambda fabric, transfers: permutation(fabric, size_bytes)


def funnel(placement: str, rank_map: str, seed: int = 0, load: float = 0.6) -> Callable[[Fabric, int], FlowTable]:
    def flows(fabric: Fabric, transfers: int) -> FlowTable:
        arrivals = Funnel(placement, rank_map, load=load, transfers=transfers, warm_up=0)  # type: ignore[arg-type]
        return arrivals.flows(fabric, seed)

    return flows


def expert_prefill(fabric: Fabric, transfers: int) -> FlowTable:
    """Return the exchanges of all groups: every GPU sends to its rail's GPU in the group's other servers, layer after layer."""
    nics = fabric.gpus_per_server
    gpu = np.arange(fabric.gpus)
    group, server = gpu // GROUP, gpu // nics
    rows = []
    for other in range(GROUP // nics):
        target = (group * GROUP // nics + other) * nics + gpu % nics
        away = target // nics != server
        rows.append(np.stack([gpu[away], target[away]]))
    source, target = np.concatenate(rows, axis=1)
    start_s = np.repeat(np.arange(LAYERS) * LAYER_S, len(source))
    source, target = np.tile(source, LAYERS), np.tile(target, LAYERS)
    return FlowTable(source, target, np.full(len(source), EXCHANGE_BYTES), start_s)


CASES = {
    "permutation-roft": Case("roft-1024", permuted(GIB)),
    "permutation-roft-2": Case("roft-1024", permuted(GIB), queue_pairs=2),
    "permutation-zcube": Case("zcube-n32", permuted(GIB)),
    "permutation-zcube-none": Case("zcube-n32", permuted(GIB), control="none"),
    "funnel-roft": Case("roft-1024", funnel("blocked", "0-0")),
    "funnel-zcube": Case("zcube-n32", funnel("blocked", "0-0")),
    "funnel-zcube-spread": Case("zcube-n32", funnel("striped", "0-d")),
    "funnel-roft-none": Case("roft-1024", funnel("blocked", "0-0"), control="none"),
    "funnel-zcube-spread-none": Case("zcube-n32", funnel("striped", "0-d"), control="none"),
    "expert-prefill-roft": Case("roft-1024", expert_prefill),
    "expert-prefill-zcube": Case("zcube-n32", expert_prefill),
    "expert-prefill-zcube-quantum": Case("zcube-n32", expert_prefill, quantum=0.01),
    "other-permutation-roft": Case("roft-256", permuted(GIB // 4), cell_bytes=CELL_BYTES // 4),
    "other-permutation-roft-nvidia": Case("roft-256", permuted(GIB // 4), control="dcqcn_nvidia"),
    "other-permutation-zcube": Case("zcube-n16", permuted(GIB // 2)),
    "other-permutation-roft-3": Case("roft-256", permuted(GIB // 4), queue_pairs=3),
    "other-funnel-roft": Case("roft-1024", funnel("striped", "0-0", 7, 0.5)),
    "other-funnel-zcube-skewed": Case("zcube-n32-skewed", funnel("blocked", "0-0", 8, 0.7)),
    "other-expert-prefill-roft": Case("roft-256", expert_prefill, cell_bytes=CELL_BYTES // 4),
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A run: what each transfer took, events, pauses by port, and the CPU time of moving the packets."""

    taken_s: FloatArray
    events: int
    pauses: IntArray
    cpu_s: float


def run(case: Case, fabric: Fabric, flows: FlowTable, mode: str, seed: int) -> Outcome:
    """Run a case once."""
    skip = {"mode": mode, "reuse_quantum": case.quantum}
    settings = PacketSettings(cell_bytes=case.cell_bytes, congestion_control=case.control, seed=seed, skip=skip)  # type: ignore[arg-type]
    model = packet_model(fabric, routing_for(fabric, queue_pairs=case.queue_pairs), settings)
    model.send(flows)
    started = time.process_time()
    model.advance(float("inf"))
    cpu_s = time.process_time() - started
    taken_s = model.completions().finish_s - flows.start_s
    assert model.received_bytes == model.posted_bytes and model.counts.drops == 0
    return Outcome(taken_s, model.counts.events, model.queue_table().pauses, cpu_s)


def quantities(taken_s: FloatArray) -> FloatArray:
    """Return mean, P50, P90 and P99."""
    return np.array([taken_s.mean(), *np.quantile(taken_s, [0.5, 0.9, 0.99])])


def apart(one: IntArray, other: IntArray) -> float:
    """Return what pauses by port differ by, over the pauses of the second."""
    return float(np.abs(one - other).sum() / max(other.sum(), 1))


def line(name: str, what: str, found: list[Outcome], full: list[Outcome]) -> str:
    """Return a row."""
    base = quantities(np.concatenate([one.taken_s for one in full]))
    shown = quantities(np.concatenate([one.taken_s for one in found])) / base - 1
    noise = np.std([quantities(one.taken_s) for one in full], axis=0, ddof=1 if len(full) > 1 else 0) / base
    noise *= np.sqrt(2 / len(full))
    events = sum(one.events for one in full) / sum(one.events for one in found)
    cpu = sum(one.cpu_s for one in full) / sum(one.cpu_s for one in found)
    pauses, without = (sum(int(one.pauses.sum()) for one in runs) for runs in (found, full))
    ports = np.mean([apart(one.pauses, other.pauses) for one, other in zip(found, full, strict=True)])
    seeds = np.mean([apart(one.pauses, other.pauses) for one, other in zip(full, full[1:] + full[:1], strict=True)])
    return (
        f"{name:30} {what:7}{events:9.1f}{cpu:7.1f}{shown[0]:+9.2%}{noise[0]:7.2%}{shown[1]:+9.2%}{shown[2]:+9.2%}"
        f"{shown[3]:+9.2%}{noise[3]:7.2%}{without:12,}{pauses:12,}{ports:8.2f}{seeds:7.2f}"
    )


def beside_packets(name: str, case: Case, fabric: Fabric, flows: FlowTable, seeds: range) -> None:
    """Print three rows."""
    packets = replace(case, cell_bytes=PACKET_BYTES)
    full = [run(packets, fabric, flows, "off", seed) for seed in seeds]
    for what, how, mode in (("cells", case, "off"), ("steady", case, "steady"), ("packets", packets, "steady")):
        print(line(name, what, [run(how, fabric, flows, mode, seed) for seed in seeds], full), flush=True)


def main() -> None:
    """Print two rows per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--transfers", type=int, default=600)
    parser.add_argument("--packets", action="store_true")
    arguments = parser.parse_args()
    tiny = load_fabric("zcube-n16")
    for mode in ("off", "steady", "reuse"):
        run(CASES["permutation-zcube"], tiny, permutation(tiny, 1 << 20), mode, 0)
    print(
        f"{'':38}{'events':>9}{'CPU':>7}{'mean':>9}{'noise':>7}{'P50':>9}{'P90':>9}{'P99':>9}{'noise':>7}"
        f"{'pauses':>12}{'found':>12}{'ports':>8}{'seeds':>7}"
    )
    for name in arguments.only or CASES:
        case = CASES[name]
        fabric = load_fabric(case.fabric)
        flows = case.flows(fabric, arguments.transfers)
        # Without a control a run is the same for every seed.
        seeds = range(arguments.seeds if case.control != "none" else 1)
        if arguments.packets:
            beside_packets(name, case, fabric, flows, seeds)
            continue
        full = [run(case, fabric, flows, "off", seed) for seed in seeds]
        for mode in ("steady", "reuse"):
            print(line(name, mode, [run(case, fabric, flows, mode, seed) for seed in seeds], full), flush=True)


if __name__ == "__main__":
    main()
