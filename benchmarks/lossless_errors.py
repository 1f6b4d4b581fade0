"""How far the back-pressure fluid and the plain fluid are from packets, on cases used for its fit and on others.

    python benchmarks/lossless_errors.py [--seeds 3] [--controls none dcqcn] [--isolation 0 0.5] [--kept FOLDER]

Every case is run packet by packet with default thresholds, propagation delays and cells of 32 KiB, and as fluids of several
isolations, the last the plain one, on the same transfers and paths. Under each stand the relative errors of the median
and of P99 of the transfer time. ``--kept`` is a folder in which times of packets are kept and looked for, since
they take minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from packet_funnel import REAL, Funnel

from zcube.arrays import FloatArray
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.flow_model import FlowModel, run_flows
from zcube.network.fluid_state import MAX_MIN
from zcube.network.link_set import LinkSet
from zcube.network.packet.model import packet_model
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

MIB = float(1 << 20)


def permutation(fabric: Fabric, seed: int) -> FlowTable:
    """Return one transfer of 128 MiB from each GPU to another one, all at once."""
    draw, gpu = stream(seed, "lossless-permutation"), np.arange(fabric.gpus)
    target = draw.permutation(fabric.gpus)
    kept = fabric.server_of(gpu) != fabric.server_of(target)
    return FlowTable(gpu[kept], target[kept], np.full(int(kept.sum()), 128 * MIB), np.zeros(int(kept.sum())))


def incasts(fabric: Fabric, seed: int) -> FlowTable:
    """Return four incasts of sixteen GPUs into one, each sender with a second transfer to anywhere: its victim; 64 MiB each."""
    draw = stream(seed, "lossless-incasts")
    chosen = draw.permutation(fabric.gpus)
    sender, receiver = chosen[:64], np.repeat(chosen[64:68], 16)
    source, target = np.concatenate([sender, sender]), np.concatenate([receiver, draw.choice(chosen[68:], 64)])
    kept = fabric.server_of(source) != fabric.server_of(target)
    count = int(kept.sum())
    return FlowTable(source[kept], target[kept], np.full(count, 64 * MIB), draw.uniform(0.0, 2e-3, count))


def uniform(fabric: Fabric, seed: int) -> FlowTable:
    """Return 800 transfers between random GPUs, log-normal about 64 MiB, Poisson at half of what the NICs can send."""
    draw, count = stream(seed, "lossless-uniform"), 800
    source, target = draw.integers(0, fabric.gpus, (2, count))
    size = draw.lognormal(np.log(64 * MIB) - 0.245, 0.7, count)
    start_s = np.cumsum(draw.exponential(64 * MIB * 8 / (0.5 * fabric.gpus * fabric.nic_gbps * 1e9), count))
    kept = fabric.server_of(source) != fabric.server_of(target)
    return FlowTable(source[kept], target[kept], np.ceil(size[kept]), start_s[kept])


@dataclass(frozen=True)
class Judged:
    """A case: transfers on a fabric as it is operated; ``fit`` where the isolation was chosen by it."""

    title: str
    fabric: str
    flows: Callable[[Fabric, int], FlowTable]
    queue_pairs: int = 1
    fit: bool = False


def _funnels() -> Iterator[Judged]:
    for rank_map, placement in (("0-0", "blocked"), ("0-0", "striped"), ("0-d", "blocked"), ("0-d", "striped")):
        funnel = Funnel(placement, rank_map, transfers=500)  # type: ignore[arg-type]
        for name, pairs in (("roft-1024", 1), ("roft-1024", 2), ("zcube-n32", 1), ("zcube-n32-skewed", 1)):
            fit = rank_map == "0-0" and placement == "blocked"
            yield Judged(f"funnel {rank_map} {placement}, {name}, {pairs} QP", name, funnel.flows, pairs, fit)


CASES = (
    *_funnels(),
    *(
        Judged(f"{flows.__name__}, {name}, {pairs} QP", name, flows, pairs)
        for flows in (permutation, incasts, uniform)
        for name, pairs in (("roft-256", 1), ("roft-256", 2), ("zcube-n16", 1))
    ),
)


def packet_finish_s(case: Judged, control: str, seed: int, kept: Path | None) -> FloatArray:
    """Return when each transfer ends packet by packet, from a folder if it is there."""
    place = None if kept is None else kept / f"{case.title} {control} {seed}.npy".replace(" ", "_")
    if place is not None and place.exists():
        return np.asarray(np.load(place))
    fabric = load_fabric(case.fabric)
    settings = REAL.model_copy(update={"congestion_control": control, "seed": seed})
    model = packet_model(fabric, routing_for(fabric, queue_pairs=case.queue_pairs, seed=seed), settings)
    finish_s = run_flows(model, case.flows(fabric, seed)).finish_s
    if place is not None:
        np.save(place, finish_s)
    return finish_s


def fluid_finish_s(case: Judged, isolation: float, seed: int) -> FloatArray:
    """Return when each transfer ends in a fluid; the plain one where victims are isolated altogether."""
    fabric = load_fabric(case.fabric)
    routing = routing_for(fabric, queue_pairs=case.queue_pairs, seed=seed)
    model = FlowModel(LinkSet.of_fabric(fabric), routing, isolation=isolation)
    return run_flows(model, case.flows(fabric, seed)).finish_s


def errors(case: Judged, control: str, isolation: float, seeds: int, kept: Path | None) -> FloatArray:
    """Return the relative errors of the median and the 99th percentile of the transfer time, mean over seeds [2]."""
    found = []
    for seed in range(seeds):
        start_s = case.flows(load_fabric(case.fabric), seed).start_s
        of_packets, of_fluid = packet_finish_s(case, control, seed, kept), fluid_finish_s(case, isolation, seed)
        quantiles = [np.quantile(finish_s - start_s, [0.5, 0.99]) for finish_s in (of_fluid, of_packets)]
        found.append(quantiles[0] / quantiles[1] - 1.0)
    return np.asarray(np.mean(found, axis=0))


def print_control(control: str, isolations: list[float], seeds: int, kept: Path | None) -> None:
    """Print the rows of one congestion control, and over the cases not used for the fit the median and largest errors."""
    columns = [*isolations, MAX_MIN]
    print(f"\n{control}: errors of the median and P99 in percent, by isolation", *(f"{value:g}" for value in columns))
    rows = {case: [errors(case, control, value, seeds, kept) for value in columns] for case in CASES}
    for case, row in rows.items():
        told = "  ".join(f"{100 * p50:+6.1f} {100 * p99:+6.1f}" for p50, p99 in row)
        print(f"{case.title:44} {'fit' if case.fit else '   '} {told}", flush=True)
    for name, fit in (("fit", True), ("others", False)):
        size = np.abs(np.array([row for case, row in rows.items() if case.fit is fit]))
        for what, of in (("mean", size.mean(axis=0)), ("largest", size.max(axis=0))):
            print(f"{name + ', ' + what:48} " + "  ".join(f"{100 * p50:6.1f} {100 * p99:6.1f}" for p50, p99 in of))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--controls", nargs="+", default=["none", "dcqcn"])
    parser.add_argument("--isolation", nargs="+", type=float, default=[0.0, 0.5])
    parser.add_argument("--kept", type=Path, help="folder for what packets took")
    arguments = parser.parse_args()
    for control in arguments.controls:
        print_control(control, arguments.isolation, arguments.seeds, arguments.kept)


if __name__ == "__main__":
    main()
