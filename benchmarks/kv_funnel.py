"""The KV funnel: how much longer transfers take on a fabric than on an ideal core, all KV leaving through NIC 0.

    python benchmarks/kv_funnel.py [--seeds 10] [--transfers 6000] [--warm-up 600]

Every second one of 128 servers is prefill. A transfer leaves through NIC 0 of a prefill server and goes to GPU d of a decode
server; sizes are log-normal, arrivals Poisson at a part of what those NICs can send. The published figures come from a
computation independent of this project, of which these parts are stated: sizes of mean 4.2 GB (67.8 thousand tokens) and sigma
0.7, d uniform, the load, pooled paths unless named, 1,024 GPUs, a two-tier ROFT with full bisection. These parts are not, and
are chosen here: the prefill and the decode server of a transfer are uniform and independent, even servers are prefill, the
path of a queue pair is a function of its pair of GPUs (as with a fixed UDP source port), runs have 6,000 transfers (some 17 s)
of which the first 600 are left out, and a figure is the mean over ten seeds of the fabric's quantile over the ideal core's for
the same transfers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.flow_model import FlowModel, PathSplit, flow_model, ideal_model, run_flows
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream


@dataclass(frozen=True)
class Funnel:
    """The transfers.

    Attributes
    ----------
    load : float
        Offered load as a part of the capacity of the prefill servers' NIC 0.
    mean_bytes, sigma : float
        Mean of the size, and standard deviation of its logarithm.
    transfers, warm_up : int
        Transfers in a run, and how many of the first are left out of the quantiles.
    """

    load: float
    mean_bytes: float = 4.2e9
    sigma: float = 0.7
    transfers: int = 6_000
    warm_up: int = 600

    def flows(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return the transfers of a seed, the same on every fabric of equal size."""
        draw, count, nics = stream(seed, "kv-funnel"), self.transfers, fabric.gpus_per_server
        prefill, decode = np.arange(0, fabric.servers, 2), np.arange(1, fabric.servers, 2)
        size = draw.lognormal(np.log(self.mean_bytes) - self.sigma**2 / 2, self.sigma, count)
        gap_s = self.mean_bytes * 8 / (self.load * len(prefill) * fabric.nic_gbps * 1e9)
        source = draw.choice(prefill, count) * nics
        target = draw.choice(decode, count) * nics + draw.integers(0, nics, count)
        return FlowTable(source, target, size, np.cumsum(draw.exponential(gap_s, count)))


@dataclass(frozen=True)
class Case:
    """A fabric as it is operated.

    Attributes
    ----------
    fabric : str
        Bundled topology.
    queue_pairs : int
        Queue pairs per transfer, where paths are hashed.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    """

    fabric: str
    queue_pairs: int = 1
    path_split: PathSplit = "pooled"

    def model(self, fabric: Fabric, seed: int) -> FlowModel:
        """Return the case's idle network."""
        return flow_model(fabric, routing_for(fabric, queue_pairs=self.queue_pairs, seed=seed), self.path_split)


@dataclass(frozen=True)
class Published:
    """A published row.

    Attributes
    ----------
    title : str
        What was run.
    case : Case
        The same here.
    load : float
        Offered load.
    p50, p99 : float or None
        Quantiles over those of the ideal core; None where none was given.
    """

    title: str
    case: Case
    load: float
    p50: float | None
    p99: float


ROFT_1, ROFT_2 = Case("roft-1024", 1), Case("roft-1024", 2)
PLAIN, SKEWED = Case("zcube-n32"), Case("zcube-n32-skewed")
HALVES = Case("zcube-n32", path_split="fixed")

#: Quantiles in ms of each fabric over the ideal core's.
PUBLISHED: tuple[Published, ...] = (
    Published("ROFT, 1 queue pair", ROFT_1, 0.45, 132 / 111, 786 / 729),
    Published("ROFT, 2 queue pairs", ROFT_2, 0.45, 113 / 111, 738 / 729),
    Published("ZCube(32,2)", PLAIN, 0.45, 127 / 111, 789 / 729),
    Published("ZCube(32,2), skewed rails", SKEWED, 0.45, 112 / 111, 729 / 729),
    Published("ROFT, 1 queue pair", ROFT_1, 0.20, 84 / 78, 478 / 457),
    Published("ROFT, 2 queue pairs", ROFT_2, 0.20, 79 / 78, 459 / 457),
    Published("ZCube(32,2)", PLAIN, 0.20, 83 / 78, 468 / 457),
    Published("ZCube(32,2), skewed rails", SKEWED, 0.20, 78 / 78, 457 / 457),
    Published("ZCube(32,2), fixed halves", HALVES, 0.50, None, 1209 / 899),
)

#: p50 and p99 of the ideal core in ms, by load.
PUBLISHED_IDEAL_MS: dict[float, tuple[float | None, float]] = {0.45: (111, 729), 0.20: (78, 457), 0.50: (None, 899)}


def transfer_times_s(model: FlowModel, flows: FlowTable, warm_up: int) -> FloatArray:
    """Return how long each transfer after the warm-up took, seconds."""
    return (run_flows(model, flows).finish_s - flows.start_s)[warm_up:]


def quantiles_s(times_s: FloatArray) -> FloatArray:
    """Return p50 and p99."""
    return np.quantile(times_s, [0.5, 0.99])


@dataclass(frozen=True)
class Found:
    """Quantiles of one case at one load over seeds.

    Attributes
    ----------
    ideal_s, fabric_s : float array [seeds, 2]
        p50 and p99 of the ideal core and of the fabric, for the same transfers.
    """

    ideal_s: FloatArray
    fabric_s: FloatArray

    @property
    def ratios(self) -> FloatArray:
        """Mean over seeds of the fabric's p50 and p99 over the ideal core's [2]."""
        return np.asarray((self.fabric_s / self.ideal_s).mean(axis=0))

    @property
    def standard_errors(self) -> FloatArray:
        """Standard error of :attr:`ratios` [2]; nan for one seed."""
        ratios = self.fabric_s / self.ideal_s
        return np.asarray(ratios.std(axis=0, ddof=1) / np.sqrt(len(ratios))) if len(ratios) > 1 else np.full(2, np.nan)


def measure(funnel: Funnel, cases: Iterable[Case], seeds: int) -> dict[Case, Found]:
    """Run cases beside the ideal core on the same transfers of each seed."""
    cases = tuple(cases)
    fabrics = {case.fabric: load_fabric(case.fabric) for case in cases}
    ideal: list[FloatArray] = []
    taken: dict[Case, list[FloatArray]] = {case: [] for case in cases}
    for seed in range(seeds):
        some = next(iter(fabrics.values()))
        ideal.append(quantiles_s(transfer_times_s(ideal_model(some), funnel.flows(some, seed), funnel.warm_up)))
        for case in cases:
            fabric = fabrics[case.fabric]
            times_s = transfer_times_s(case.model(fabric, seed), funnel.flows(fabric, seed), funnel.warm_up)
            taken[case].append(quantiles_s(times_s))
    return {case: Found(np.array(ideal), np.array(taken[case])) for case in cases}


def rows(seeds: int, transfers: int, warm_up: int) -> Iterator[tuple[Published, Found]]:
    """Run every published row and yield it with what was found."""
    for load in dict.fromkeys(row.load for row in PUBLISHED):
        wanted = [row for row in PUBLISHED if row.load == load]
        found = measure(Funnel(load, transfers=transfers, warm_up=warm_up), [row.case for row in wanted], seeds)
        yield from ((row, found[row.case]) for row in wanted)


def line(row: Published, found: Found) -> str:
    """Return a row of the table."""
    (p50_ms, p99_ms), (ideal_p50_ms, ideal_p99_ms) = (found.fabric_s.mean(axis=0) * 1e3, found.ideal_s.mean(axis=0) * 1e3)
    (p50, p99), (error_p50, error_p99) = found.ratios, found.standard_errors
    wanted = f"{row.p50:6.3f}" if row.p50 else f"{'-':>6}"
    return (
        f"{row.title:27}{row.load:5.0%}{ideal_p50_ms:7.0f}{ideal_p99_ms:6.0f}{p50_ms:7.0f}{p99_ms:6.0f}"
        f"  {p50:6.3f} ± {error_p50:.3f} {wanted}  {p99:6.3f} ± {error_p99:.3f} {row.p99:6.3f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--transfers", type=int, default=6_000)
    parser.add_argument("--warm-up", type=int, default=600)
    arguments = parser.parse_args()
    print("                             load  ideal, ms    fabric, ms   p50 over ideal, publ.   p99 over ideal, publ.")
    for row, found in rows(arguments.seeds, arguments.transfers, arguments.warm_up):
        print(line(row, found), flush=True)


if __name__ == "__main__":
    main()
