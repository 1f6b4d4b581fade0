"""Set the fluid's spraying and steering by queue depth beside packets: fixed equal parts, and one pool that all paths drain.

    python benchmarks/spread_fluid_errors.py [--seeds 3] [--size-mib 16]

Permutations, incasts of eight to one, and two transfers from each GPU to random ones, 16 KiB cells. Printed is the duration of
transfers over the fluid's, headers taken out: mean, at the median and at P99, over all seeds together.
"""

from __future__ import annotations

import argparse

import numpy as np

from zcube.arrays import FloatArray
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable, PathSplit
from zcube.network.settings import Network
from zcube.seeds import stream

CELL_BYTES = 16384
#: Payload and headers over payload.
HEADERS = (4096 + 82) / 4096
FABRICS = {"roft-256": "equal-paths", "zcube-n16": "zcube-all-links"}
#: Path choice, and how the fluid splits its transfers.
CHOICES: dict[str, PathSplit] = {
    "spray": "fixed",
    "spray-random": "fixed",
    "adaptive": "pooled",
    "adaptive-every-switch": "pooled",
}


def loads(fabric: Fabric, seed: int, size_bytes: float) -> dict[str, FlowTable]:
    """Return the transfers of each traffic."""
    draw, gpus = stream(seed, "transfers"), fabric.gpus
    cycle = draw.permutation(gpus)
    target = np.empty(gpus, dtype=np.int64)
    target[cycle] = np.roll(cycle, -1)
    sinks = draw.permutation(gpus)[: gpus // 16]
    incast = np.repeat(sinks, 8), (np.repeat(sinks, 8) + 8 * (1 + np.tile(np.arange(8), len(sinks)))) % gpus
    twice = np.repeat(np.arange(gpus), 2)
    ends = {
        "permutation": (np.arange(gpus), target),
        "incast 8 to 1": (incast[1], incast[0]),
        "two to random": (twice, (twice + draw.integers(1, gpus, 2 * gpus)) % gpus),
    }
    return {name: FlowTable(*pair, np.full(len(pair[0]), size_bytes), np.zeros(len(pair[0]))) for name, pair in ends.items()}


def durations_s(fabric: Fabric, network: Network, flows: FlowTable, seed: int) -> FloatArray:
    """Return how long each transfer takes [flows]."""
    model = network.on(fabric, seed).model()
    model.send(flows)
    model.advance(float("inf"))
    return model.completions().finish_s - flows.start_s


def main() -> None:
    """Print one row per fabric, traffic, choice and control."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size-mib", type=float, default=16.0)
    arguments = parser.parse_args()
    print(f"{'fabric':12}{'traffic':16}{'choice':24}{'control':14}{'mean':>8}{'P50':>8}{'P99':>8}")
    for name, routing in FABRICS.items():
        fabric = load_fabric(name)
        for traffic in ("permutation", "incast 8 to 1", "two to random"):
            for choice, split in CHOICES.items():
                for control in ("none", "dcqcn_nvidia"):
                    ours, theirs = [], []
                    for seed in range(arguments.seeds):
                        flows = loads(fabric, seed, arguments.size_mib * (1 << 20))[traffic]
                        fluid = Network(routing=routing, path_split=split)
                        packet = PacketSettings(cell_bytes=CELL_BYTES, path_choice=choice, congestion_control=control)
                        packets = Network(routing=routing, fidelity="packet", packet=packet)
                        theirs.append(durations_s(fabric, fluid, flows, seed) * HEADERS)
                        ours.append(durations_s(fabric, packets, flows, seed))
                    found, fluid_s = np.concatenate(ours), np.concatenate(theirs)
                    ratios = [found.mean() / fluid_s.mean()]
                    ratios += [float(np.quantile(found, at) / np.quantile(fluid_s, at)) for at in (0.5, 0.99)]
                    shown = "".join(f"{ratio:8.3f}" for ratio in ratios)
                    print(f"{name:12}{traffic:16}{choice:24}{control:14}{shown}", flush=True)


if __name__ == "__main__":
    main()
