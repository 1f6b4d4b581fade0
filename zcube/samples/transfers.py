"""Sample lists of transfers, and a sample of cables as found in the field."""

from __future__ import annotations

import csv
import io

import numpy as np

from zcube.fabric.catalog import load_fabric
from zcube.fabric.wiring.ptm import ptm_text
from zcube.seeds import stream
from zcube.workload.generated_flows import Cluster, KvFunnel

#: The funnel is made for so many GPUs, so that every bundled fabric of as many or more carries it.
FUNNEL = Cluster(gpus=256, gpus_per_server=8, nic_gbps=400.0)
WIRED = "zcube-32"


def funnel_csv(seed: int) -> bytes:
    """Return a few hundred KV caches that prefill servers send to decode servers, from NIC 0 to NIC 0, as CSV."""
    flows = KvFunnel(transfers=240, mean_bytes=8e6, sigma=0.6).flows(FUNNEL, seed)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "src", "dst", "bytes", "start_s"])
    columns = (flows.flow_id, flows.source, flows.target, flows.size_bytes.astype(np.int64), flows.start_s.round(9))
    rows.writerows(zip(*(column.tolist() for column in columns), strict=True))
    return text.getvalue().encode()


def swapped_cables_dot(seed: int) -> bytes:
    """Return the cables of :data:`WIRED` as PTM writes them, two of them plugged into each other's ports."""
    lines = ptm_text(load_fabric(WIRED)).splitlines()
    cables = [number for number, line in enumerate(lines) if " -- " in line]
    one, other = sorted(stream(seed, "sample-cables").choice(cables, 2, replace=False))
    (first, its_end), (second, other_end) = (lines[number].split(" -- ") for number in (one, other))
    lines[one], lines[other] = f"{first} -- {other_end}", f"{second} -- {its_end}"
    return ("\n".join(lines) + "\n").encode()
