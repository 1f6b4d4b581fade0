"""Hold NSCC against htsim's, the Ultra Ethernet Consortium's own program, on connection files that come with it.

    python benchmarks/bench_nscc.py --htsim .../htsim/sim [--only incast_128]... [--seeds 3]

``htsim/sim`` is the folder of github.com/ultraethernet/uet-htsim, its program built by ``cmake -S . -B build
-DCMAKE_BUILD_TYPE=Release && make -C build htsim_uec``; nothing of it is used but the program and its connection files, which
are read from the folder. Both carry a file's transfers over a three-tier fat tree of 100 Gb/s links of 1 us, packets of 4,150
bytes, trimmed by queues of the length that htsim finds by itself, sender-based control only, each packet by the next of 128
hashed paths in turn (``-load_balancing_algo oblivious -paths 128``). Of each transfer the time to complete counts; the bounds
are 5 % at the median over transfers and 10 % at P99. Quantiles are held against quantiles, since paths are hashed apart.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zcube.arrays import FloatArray
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.model import Fabric
from zcube.fabric.spec import SwitchSpec
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

CASES = (
    "perm_128n_128c_2MB", "incast_128", "outcast_incast", "perm_16n_16c_2MB", "incast_2to1_size4194304B",
    "incast_collateral_128", "perm_1024n_1024c_0u_2000000b",
)  # fmt: skip

PACKET_BYTES, HEADER_BYTES, GBPS, LINK_S, ENTROPIES = 4150, 64, 100, 1e-6, 128
MOST_MEDIAN, MOST_P99 = 0.05, 0.10

_TRANSFER = re.compile(r"(\d+)->(\d+)(?: id \d+)? start (\d+) size (\d+)\s*$")
_FINISHED = re.compile(r"Flow (\S+) .* finished at ([0-9.e+]+)")
_STARTED = re.compile(r"Flow (\S+) .* starting at ([0-9.e+]+)")


@dataclass(frozen=True)
class Told:
    """What htsim says of its run: lengths of queues and thresholds of marks in bytes, round trip, times to complete."""

    queue_bytes: int
    kmin_bytes: int
    kmax_bytes: int
    rtt_s: float
    taken_s: FloatArray


def fat_tree(hosts: int) -> Fabric:
    """Return the smallest fat tree of switches of equal radix that has so many hosts, as htsim builds it."""
    radix = next(k for k in range(4, 64, 2) if k**3 // 4 == hosts)
    switch = SwitchSpec(model="bench", ports=radix, port_gbps=GBPS)
    return SpineLeafSpec(
        gpus=hosts, gpus_per_server=1, nic_gbps=GBPS, rail_optimised=False, tiers=3, switch=switch, link_latency_s=LINK_S
    ).build(f"fat-tree-{hosts}")


def transfers(file: Path) -> tuple[int, FlowTable]:
    """Return the hosts and the transfers of a connection file without triggers."""
    lines = file.read_text().splitlines()
    hosts = int(lines[0].split()[1])
    found = [match for line in lines if (match := _TRANSFER.match(line))]
    assert len(found) == int(next(line for line in lines if line.startswith("Connections")).split()[1]), file
    columns = np.array([[int(text) for text in match.groups()] for match in found])
    return hosts, FlowTable(columns[:, 0], columns[:, 1], columns[:, 3].astype(float), columns[:, 2] * 1e-6)


def htsim(folder: Path, file: Path, hosts: int, seed: int) -> Told:
    """Run htsim on a connection file."""
    options = f"-tm {file} -nodes {hosts} -seed {seed} -sender_cc_only -end 100000 -paths {ENTROPIES}"
    with tempfile.TemporaryDirectory() as scratch:
        call = [f"{folder.resolve()}/build/datacenter/htsim_uec", *options.split(), "-load_balancing_algo", "oblivious"]
        call += ["-o", f"{scratch}/log"]
        said = subprocess.run(call, cwd=scratch, capture_output=True, text=True, check=True).stdout
    started = {name: float(at) for name, at in _STARTED.findall(said)}
    taken = [float(at) - started[name] for name, at in _FINISHED.findall(said)]

    def number(pattern: str) -> float:
        found = re.search(pattern, said)
        assert found, pattern
        return float(found[1])

    return Told(
        queue_bytes=int(number(r"Tier 0 QueueSize Up (\d+)")),
        kmin_bytes=int(number(r"ECN to parameters low (\d+)")),
        kmax_bytes=int(number(r"ECN to parameters low \d+ high (\d+)")),
        rtt_s=number(r"network_max_unloaded_rtt ([0-9.]+)") * 1e-6,
        taken_s=np.sort(np.array(taken) * 1e-6),
    )


def settings(told: Told, seed: int) -> PacketSettings:
    """Return what htsim simulates: a queue of its own for each port, which a buffer without end and a tiny alpha give."""
    endless = 1 << 40
    return PacketSettings.model_validate(
        {
            "packet_payload_bytes": PACKET_BYTES - HEADER_BYTES,
            "header_bytes": HEADER_BYTES,
            "buffer_bytes": endless,
            "drop_alpha": told.queue_bytes / endless,
            "pfc": False,
            "recovery": "selective",
            "trimming": True,
            "trim_bytes": 64,
            "path_choice": "spray",
            "congestion_control": "nscc",
            "nscc": {"network_rtt_s": told.rtt_s},
            "marking": [{"up_to_gbps": GBPS, "kmin_bytes": told.kmin_bytes, "kmax_bytes": told.kmax_bytes, "pmax": 1.0}],
            "seed": seed,
        }
    )


def here(fabric: Fabric, flows: FlowTable, told: Told, seed: int) -> tuple[FloatArray, str]:
    """Return the times to complete that this project finds, and what it counted."""
    model = packet_model(fabric, routing_for(fabric, "ecmp", queue_pairs=ENTROPIES, seed=seed), settings(told, seed))
    model.send(flows)
    model.advance(float("inf"))
    done = model.completions()
    taken_s = np.sort(done.finish_s - flows.start_s)
    assert np.isfinite(taken_s).all(), "a transfer did not complete"
    counts = model.counts
    return taken_s, f"{counts.trims} trims, {counts.repeats} repeats, {counts.timeouts} timeouts"


def main() -> None:
    """Print a row per connection file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--htsim", type=Path, required=True, help="the folder htsim/sim, its program built")
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'':28}{'transfers':>10}{'median, us':>20}{'':>8}{'P99, us':>20}{'':>8}")
    for case in arguments.only or CASES:
        file = (arguments.htsim / "datacenter" / "connection_matrices" / f"{case}.cm").resolve()
        hosts, flows = transfers(file)
        fabric = fat_tree(hosts)
        theirs, ours = [], []
        for seed in range(arguments.seeds):
            told = htsim(arguments.htsim, file, hosts, seed + 1)
            assert len(told.taken_s) == len(flows), f"{case}: htsim completed {len(told.taken_s)} of {len(flows)}"
            taken_s, counted = here(fabric, flows, told, seed)
            theirs.append(told.taken_s)
            ours.append(taken_s)
        cells, within = "", True
        for quantile, most in ((0.5, MOST_MEDIAN), (0.99, MOST_P99)):
            one, other = (float(np.quantile(np.concatenate(side), quantile)) for side in (theirs, ours))
            within &= abs(other / one - 1) <= most
            cells += f"{one * 1e6:10.1f}{other * 1e6:10.1f}{other / one - 1:+8.1%}"
        print(f"{case:28}{len(flows):10}{cells}  {'within' if within else 'NOT WITHIN'}; {counted}")


if __name__ == "__main__":
    main()
