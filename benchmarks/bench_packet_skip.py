"""Compare runs that advance what is steady by rate with runs packet by packet: events, CPU time, completion times, pauses.

    python benchmarks/bench_packet_skip.py [--only permutation-roft]... [--seeds 3] [--transfers 600]

Cells of 64 KiB. Permutations of 1 GiB among 1,024 GPUs; the KV funnel of ``packet_funnel.py`` with its real thresholds, with
and without DCQCN; an iteration of expert-parallel prefill: groups of 32 GPUs of four servers exchange over their rails, layer
after layer. A row is the mean over the seeds of the marks. In rows ``seeds``, runs packet by packet stand beside such runs of
another seed: under a control that marks at random two runs differ in who is cut first, so that single transfers of two modes
cannot be expected to differ by less. Kernels are compiled before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

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
#: EP32: GPUs of a group, bytes from one of its servers' GPUs to the same rail of another in a layer, time between layers.
GROUP, LAYERS, EXCHANGE_BYTES, LAYER_S = 32, 8, 16e6, 2e-3


@dataclass(frozen=True)
class Case:
    """What is run: a fabric, its transfers by the largest number of them, and how they are sent."""

    fabric: str
    flows: Callable[[Fabric, int], FlowTable]
    queue_pairs: int = 1
    control: str = "dcqcn"


def one_permutation(fabric: Fabric, transfers: int) -> FlowTable:
    return permutation(fabric, GIB)


def funnel(placement: str, rank_map: str) -> Callable[[Fabric, int], FlowTable]:
    def flows(fabric: Fabric, transfers: int) -> FlowTable:
        return Funnel(placement, rank_map, transfers=transfers, warm_up=0).flows(fabric, 0)  # type: ignore[arg-type]

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
    "permutation-roft": Case("roft-1024", one_permutation),
    "permutation-roft-2": Case("roft-1024", one_permutation, queue_pairs=2),
    "permutation-zcube": Case("zcube-n32", one_permutation),
    "permutation-zcube-none": Case("zcube-n32", one_permutation, control="none"),
    "funnel-roft": Case("roft-1024", funnel("blocked", "0-0")),
    "funnel-zcube": Case("zcube-n32", funnel("blocked", "0-0")),
    "funnel-zcube-spread": Case("zcube-n32", funnel("striped", "0-d")),
    "funnel-roft-none": Case("roft-1024", funnel("blocked", "0-0"), control="none"),
    "funnel-zcube-spread-none": Case("zcube-n32", funnel("striped", "0-d"), control="none"),
    "expert-prefill-roft": Case("roft-1024", expert_prefill),
    "expert-prefill-zcube": Case("zcube-n32", expert_prefill),
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
    settings = PacketSettings(
        cell_bytes=CELL_BYTES, congestion_control=case.control, seed=seed, skip={"mode": mode}  # type: ignore[arg-type]
    )  # fmt: skip
    model = packet_model(fabric, routing_for(fabric, queue_pairs=case.queue_pairs), settings)
    model.send(flows)
    started = time.process_time()
    model.advance(float("inf"))
    cpu_s = time.process_time() - started
    taken_s = model.completions().finish_s - flows.start_s
    assert model.received_bytes == model.posted_bytes and model.counts.drops == 0
    return Outcome(taken_s, model.counts.events, model.queue_table().pauses, cpu_s)


def differences(found: Outcome, full: Outcome) -> FloatArray:
    """Return how times differ: their mean, P50 and P99, and P50, P90 and P99 of the differences of single transfers."""
    each = np.quantile(np.abs(found.taken_s / full.taken_s - 1), [0.5, 0.9, 0.99])
    whole = [found.taken_s.mean() / full.taken_s.mean() - 1]
    whole += (np.quantile(found.taken_s, [0.5, 0.99]) / np.quantile(full.taken_s, [0.5, 0.99]) - 1).tolist()
    return np.array([*whole, *each])


def line(name: str, what: str, found: list[Outcome], full: list[Outcome]) -> str:
    """Return a row."""
    shown = np.mean([differences(one, other) for one, other in zip(found, full, strict=True)], axis=0)
    events = sum(one.events for one in full) / sum(one.events for one in found)
    cpu = sum(one.cpu_s for one in full) / sum(one.cpu_s for one in found)
    pauses, without = (sum(int(one.pauses.sum()) for one in runs) for runs in (found, full))
    return (
        f"{name:25} {what:7}{events:9.1f}{cpu:7.1f}{shown[0]:+9.2%}{shown[1]:+9.2%}{shown[2]:+9.2%}"
        f"{shown[3]:9.2%}{shown[4]:9.2%}{shown[5]:9.2%}{without:12,}{pauses:12,}"
    )


def main() -> None:
    """Print two rows per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--transfers", type=int, default=600)
    arguments = parser.parse_args()
    tiny = load_fabric("zcube-n16")
    for mode in ("off", "steady"):
        run(CASES["permutation-zcube"], tiny, permutation(tiny, 1 << 20), mode, 0)
    columns = ("events", "CPU", "mean", "P50", "P99", "each P50", "P90", "P99")
    print(" " * 33 + "".join(f"{column:>{7 if column == 'CPU' else 9}}" for column in columns) + f"{'pauses':>12}{'found':>12}")
    for name in arguments.only or CASES:
        case = CASES[name]
        fabric = load_fabric(case.fabric)
        flows = case.flows(fabric, arguments.transfers)
        full = [run(case, fabric, flows, "off", seed) for seed in range(arguments.seeds)]
        steady = [run(case, fabric, flows, "steady", seed) for seed in range(arguments.seeds)]
        print(line(name, "steady", steady, full), flush=True)
        if case.control != "none" and len(full) > 1:
            print(line(name, "seeds", full[1:], full[:-1]), flush=True)


if __name__ == "__main__":
    main()
