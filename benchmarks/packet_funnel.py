"""The KV funnel under lossless back-pressure: transfer times on five fabrics, packet by packet.

    python benchmarks/packet_funnel.py [--seeds 10] [--transfers 1500] [--real] [--out FOLDER]

Of 128 servers of eight GPUs 96 are prefill and 32 decode. A transfer leaves through NIC 0 of a prefill server for a decode
server; sizes are log-normal, arrivals Poisson at a part of what the decode servers' NIC 0 can take. The published figures come
from a crude model independent of this project: cells of 32 KiB, no propagation delay, no congestion control, PFC per ingress
link that stops at 32 cells and goes on at 24, queue pairs and paths pooled; sizes of mean 0.42 GB, 1,500 transfers of which the
first 100 are left out; KV from NIC 0 to NIC 0 of decode servers that fill the last of four pods; load 60 %. Not stated and
chosen here: the sigma of the sizes (0.7, as in the fluid funnel), prefill and decode server uniform and independent, and what
a switch's ingress sees as one link (a cable).

``--real`` runs the same transfers with propagation delays, the model's default thresholds, and DCQCN on or off, for blocked and
striped decode servers and both rank maps (GPU 0 to GPU 0, and GPU 0 to a uniform GPU d).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flow_workloads import undelayed_fabric

from zcube.arrays import FloatArray
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.packet.model import PacketModel, ideal_packet_model, packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.report.palette import BLUE, SKY, VERMILLION, tint
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

KIB = 1024
CELL_BYTES = 32 * KIB

#: The crude model's switches: no headers, no time for a pause to arrive, a buffer that only the pauses bound.
CRUDE = PacketSettings(
    packet_payload_bytes=CELL_BYTES,
    header_bytes=0,
    congestion_control="none",
    pfc_threshold="static",
    xoff_bytes=32 * CELL_BYTES,
    xon_gap_bytes=8 * CELL_BYTES,
    buffer_bytes=1 << 40,
    pause_frame_bytes=0,
)
#: Real thresholds and delays; cells as above, so that transfers of hundreds of megabytes can be run.
REAL = PacketSettings(cell_bytes=CELL_BYTES)

Placement = Literal["blocked", "striped"]
RankMap = Literal["0-0", "0-d"]


@dataclass(frozen=True)
class Funnel:
    """The transfers.

    Attributes
    ----------
    placement : {"blocked", "striped"}
        Decode servers fill the last quarter, or are every fourth.
    rank_map : {"0-0", "0-d"}
        To GPU 0 of a decode server, or to any of its GPUs.
    load : float
        Offered load as a part of the capacity of the decode servers' NIC 0.
    mean_bytes, sigma : float
        Mean of the size, and standard deviation of its logarithm.
    transfers, warm_up : int
        Transfers in a run, and how many of the first are left out of the quantiles.
    """

    placement: Placement = "blocked"
    rank_map: RankMap = "0-0"
    load: float = 0.6
    mean_bytes: float = 0.42e9
    sigma: float = 0.7
    transfers: int = 1_500
    warm_up: int = 100

    def flows(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return the transfers of a seed, the same on every fabric of equal size."""
        draw, count, nics = stream(seed, "packet-funnel"), self.transfers, fabric.gpus_per_server
        server = np.arange(fabric.servers)
        is_decode = server >= fabric.servers * 3 // 4 if self.placement == "blocked" else server % 4 == 3
        prefill, decode = server[~is_decode], server[is_decode]
        size = draw.lognormal(np.log(self.mean_bytes) - self.sigma**2 / 2, self.sigma, count)
        gap_s = self.mean_bytes * 8 / (self.load * len(decode) * fabric.nic_gbps * 1e9)
        source, target = draw.choice(prefill, count) * nics, draw.choice(decode, count) * nics
        local = draw.integers(0, nics, count)
        start_s = np.cumsum(draw.exponential(gap_s, count))
        return FlowTable(source, target + (local if self.rank_map == "0-d" else 0), np.ceil(size), start_s)


@dataclass(frozen=True)
class Case:
    """A fabric as it is operated; ``fabric`` None is the ideal core."""

    title: str
    fabric: str | None
    queue_pairs: int = 1

    def model(self, fabric: Fabric, settings: PacketSettings, seed: int, bin_s: float = 0.0) -> PacketModel:
        """Return the case's idle network."""
        if self.fabric is None:
            return ideal_packet_model(fabric, settings)
        return packet_model(fabric, routing_for(fabric, queue_pairs=self.queue_pairs, seed=seed), settings, bin_s=bin_s)


IDEAL = Case("ideal core", None)
CASES = (
    IDEAL,
    Case("ROFT, 1 queue pair", "roft-1024", 1),
    Case("ROFT, 2 queue pairs", "roft-1024", 2),
    Case("ZCube(32,2)", "zcube-n32"),
    Case("ZCube(32,2), skewed rails", "zcube-n32-skewed"),
)

#: p50 and p99 in ms of seeds 0, 1 and 2.
PUBLISHED_MS: dict[str, tuple[tuple[float, float], ...]] = {
    "ideal core": ((17, 124), (18, 152), (18, 165)),
    "ROFT, 1 queue pair": ((44, 313), (50, 458), (57, 397)),
    "ROFT, 2 queue pairs": ((53, 384), (56, 415), (60, 438)),
    "ZCube(32,2)": ((25, 157), (28, 194), (30, 231)),
    "ZCube(32,2), skewed rails": ((18, 116), (19, 140), (18, 160)),
}


def published_ratios(title: str) -> FloatArray:
    """Return p50 and p99 over the ideal core's, mean of the three published seeds [2]."""
    return np.asarray((np.array(PUBLISHED_MS[title]) / np.array(PUBLISHED_MS[IDEAL.title])).mean(axis=0))


@dataclass(frozen=True, eq=False)
class Outcome:
    """One run.

    Attributes
    ----------
    quantiles_s : float array [2]
        p50 and p99 of the transfer time.
    pauses, paused_ports : int
        XOFF frames, and ports that were stopped at least once.
    paused_s : float
        Time all ports together stood still.
    victims : int
        Transfers held up behind others' congestion for more than a tenth of their time.
    drops, rate_cuts, packet_hops : int
        As the model counts them.
    """

    quantiles_s: FloatArray
    pauses: int
    paused_ports: int
    paused_s: float
    victims: int
    drops: int
    rate_cuts: int
    packet_hops: int


def run(case: Case, fabric: Fabric, funnel: Funnel, settings: PacketSettings, seed: int) -> Outcome:
    """Run one case on the transfers of a seed."""
    flows = funnel.flows(fabric, seed)
    model = case.model(fabric, settings.model_copy(update={"seed": seed}), seed)
    model.send(flows)
    model.advance(float("inf"))
    taken_s = model.completions().finish_s - flows.start_s
    queues, delays, counts = model.queue_table(), model.delays(), model.counts
    return Outcome(
        np.quantile(taken_s[funnel.warm_up :], [0.5, 0.99]),
        counts.pauses,
        int((queues.pauses > 0).sum()),
        float(queues.paused_s.sum()),
        int((delays.victim_s > 0.1 * taken_s).sum()),
        counts.drops,
        counts.rate_cuts,
        counts.packet_hops,
    )


def loaded(case: Case, delays: bool) -> Fabric:
    """Return a case's fabric, with or without propagation delays."""
    name = case.fabric or "roft-1024"
    return load_fabric(name) if delays else undelayed_fabric(name)


def crude_table(seeds: int, transfers: int, warm_up: int) -> Iterator[tuple[Case, list[Outcome]]]:
    """Yield each fabric with its runs in the crude model, one per seed."""
    funnel = Funnel(transfers=transfers, warm_up=warm_up)
    for case in CASES:
        fabric = loaded(case, delays=False)
        yield case, [run(case, fabric, funnel, CRUDE, seed) for seed in range(seeds)]


def ratios(outcomes: list[Outcome], ideal: list[Outcome]) -> tuple[FloatArray, FloatArray]:
    """Return the mean over seeds of the quantiles over the ideal core's, and its standard error [2 each]."""
    each = np.array([one.quantiles_s / core.quantiles_s for one, core in zip(outcomes, ideal, strict=True)])
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.full(2, np.nan)
    return np.asarray(each.mean(axis=0)), np.asarray(error)


def print_crude(seeds: int, transfers: int, warm_up: int) -> None:
    """Print the crude table beside the published one."""
    print("fabric                       p50, ms  p99, ms   p50 over ideal, publ.    p99 over ideal, publ.   pauses   hops, M")
    ideal: list[Outcome] = []
    for case, outcomes in crude_table(seeds, transfers, warm_up):
        ideal = ideal or outcomes
        (p50, p99), (error_p50, error_p99) = ratios(outcomes, ideal)
        mean_ms = 1e3 * np.mean([one.quantiles_s for one in outcomes], axis=0)
        wanted = published_ratios(case.title)
        pauses, hops = (np.mean([getattr(one, name) for one in outcomes]) for name in ("pauses", "packet_hops"))
        print(
            f"{case.title:27} {mean_ms[0]:8.1f} {mean_ms[1]:8.1f}"
            f"   {p50:6.3f} ± {error_p50:.3f} {wanted[0]:6.3f}   {p99:6.3f} ± {error_p99:.3f} {wanted[1]:6.3f}"
            f"  {pauses:8.0f}  {hops / 1e6:7.1f}",
            flush=True,
        )


def real_rows(seeds: int, transfers: int, warm_up: int) -> Iterator[dict[str, Any]]:
    """Yield one row per rank map, placement, congestion control and fabric, means over seeds."""
    for rank_map in ("0-0", "0-d"):
        for placement in ("blocked", "striped"):
            funnel = Funnel(placement, rank_map, transfers=transfers, warm_up=warm_up)  # type: ignore[arg-type]
            for control in ("none", "dcqcn"):
                settings = REAL.model_copy(update={"congestion_control": control})
                ideal: list[Outcome] = []
                for case in CASES:
                    fabric = loaded(case, delays=True)
                    outcomes = [run(case, fabric, funnel, settings, seed) for seed in range(seeds)]
                    ideal = ideal or outcomes
                    (p50, p99), _ = ratios(outcomes, ideal)
                    means = {
                        name: float(np.mean([getattr(one, name) for one in outcomes]))
                        for name in ("pauses", "paused_ports", "paused_s", "victims", "rate_cuts", "drops")
                    }
                    p50_ms, p99_ms = 1e3 * np.mean([one.quantiles_s for one in outcomes], axis=0)
                    yield {
                        "rank_map": rank_map, "placement": placement, "control": control, "fabric": case.title,
                        "p50_ms": float(p50_ms), "p99_ms": float(p99_ms), "p50": float(p50), "p99": float(p99), **means,
                    }  # fmt: skip


def print_real(seeds: int, transfers: int, warm_up: int, out: Path | None) -> None:
    """Print the table with real thresholds, and draw it."""
    rows = []
    columns = "p50, ms  p99, ms  over ideal      pauses ports paused, s victims   cuts"
    print(f"map  place    control  fabric                      {columns}")
    for row in real_rows(seeds, transfers, warm_up):
        rows.append(row)
        print(
            f"{row['rank_map']:4} {row['placement']:8} {row['control']:8} {row['fabric']:26}"
            f" {row['p50_ms']:8.1f} {row['p99_ms']:8.1f}"
            f"  {row['p50']:5.2f} {row['p99']:5.2f}  {row['pauses']:10.0f} {row['paused_ports']:5.0f} {row['paused_s']:9.3f}"
            f" {row['victims']:7.0f} {row['rate_cuts']:6.0f}",
            flush=True,
        )
    if out is not None:
        draw(rows, out / "packet_funnel.png")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw P99 over the ideal core's and the time ports stood paused, one column per rank map and placement."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    panels = list(dict.fromkeys((row["rank_map"], row["placement"]) for row in rows))
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    grid = figure.subplots(2, len(panels), sharey="row", squeeze=False)
    for column, (rank_map, placement) in enumerate(panels):
        shown = [row for row in rows if (row["rank_map"], row["placement"]) == (rank_map, placement)]
        grid[0][column].set_title(f"GPU {rank_map.replace('-', ' to GPU ')}, {placement} decode servers", fontsize=10)
        for line, key in enumerate(("p99", "paused_s")):
            _bars(grid[line][column], shown, key)
        grid[1][column].set_xticks(range(len(CASES)), [case.title for case in CASES], rotation=55, ha="right", fontsize=8)
        grid[0][column].set_xticks([])
    grid[0][0].set_ylabel("P99 over the ideal core's")
    grid[1][0].set_ylabel("time ports stood paused (s)")
    patches = [Patch(facecolor="#999999", edgecolor="white", hatch=hatch, label=name) for name, hatch in HATCHES.values()]
    figure.legend(handles=patches, loc="outside lower left", ncols=2, frameon=False)
    figure.suptitle("KV funnel, packet by packet")
    figure.savefig(path, dpi=130)


#: Name and hatch of each congestion control.
HATCHES = {"none": ("no congestion control", ""), "dcqcn": ("DCQCN", "///")}
#: Colours of the cases; a fabric has its own in every picture.
SHADES = ("#999999", tint(VERMILLION, 0.55), VERMILLION, BLUE, SKY)


def _bars(area: Any, rows: list[dict[str, Any]], key: str) -> None:
    for number, control in enumerate(HATCHES):
        values = [row[key] for row in rows if row["control"] == control]
        place = np.arange(len(values)) + (number - 0.5) * 0.38
        area.bar(place, values, 0.36, color=SHADES[: len(values)], hatch=HATCHES[control][1], edgecolor="white")
    area.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--transfers", type=int, default=1_500)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--real", action="store_true", help="real thresholds, delays and DCQCN instead of the crude model")
    parser.add_argument("--out", type=Path, help="folder for the picture of --real")
    arguments = parser.parse_args()
    if arguments.real:
        print_real(arguments.seeds, arguments.transfers, arguments.warm_up, arguments.out)
    else:
        print_crude(arguments.seeds, arguments.transfers, arguments.warm_up)


if __name__ == "__main__":
    main()
