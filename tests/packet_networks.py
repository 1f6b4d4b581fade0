"""Small networks for tests of the packet model: links given one by one, paths given pair by pair."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from zcube.network.link_set import LinkSet
from zcube.network.packet.model import PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.routes import assemble

PS = 10**12
#: A full packet of 4,096 + 82 bytes at 400 Gb/s.
FULL_PS = (4096 + 82) * 20


class Network:
    """Hosts ``h0, h1, ...`` and switches of any other name; a path is a list of nodes."""

    def __init__(self, *cables, gbps=400.0, latency_s=500e-9):
        rows = []
        for cable in cables:
            a, b, *rest = cable
            rate = rest[0] if rest else gbps
            rows += [(a, b, rate), (b, a, rate)]
        self.number = {(a, b): at for at, (a, b, _) in enumerate(rows)}
        source, target = [row[0] for row in rows], [row[1] for row in rows]
        self.link_set = LinkSet(
            source,
            target,
            ["switch"] * len(rows),
            np.array([row[2] * 1e9 for row in rows]),
            np.full(len(rows), latency_s),
            np.array([name.startswith("h") for name in source]),
            np.array([name.startswith("h") for name in target]),
        )
        self.paths = {}
        self.name = "given"

    def path(self, *nodes):
        """Let transfers from the first node to the last use this path too."""
        links = [self.number[pair] for pair in pairwise(nodes)]
        self.paths.setdefault((int(nodes[0][1:]), int(nodes[-1][1:])), []).append(links)
        return self

    def routes(self, source, target):
        chosen = [self.paths[int(a), int(b)] for a, b in zip(source, target)]
        rows = [path for paths in chosen for path in paths]
        hops = np.full((len(rows), max(map(len, rows))), -1)
        for at, row in enumerate(rows):
            hops[at, : len(row)] = row
        return assemble(np.array([len(paths) for paths in chosen]), hops)

    def model(self, path_split="pooled", bin_s=0.0, **settings):
        settings.setdefault("congestion_control", "none")
        return PacketModel(self.link_set, self, PacketSettings(**settings), path_split, bin_s=bin_s)


def star(hosts, **options):
    """Hosts on one switch."""
    network = Network(*((f"h{host}", "s") for host in range(hosts)), **options)
    for a in range(hosts):
        for b in range(hosts):
            if a != b:
                network.path(f"h{a}", "s", f"h{b}")
    return network


def flows(*rows, **columns):
    """Transfers from rows of source, target, bytes and, if not 0, start in seconds."""
    rows = [(*row, 0.0)[:4] for row in rows]
    source, target, size, start = (np.array(column) for column in zip(*rows))
    return FlowTable(source, target, size.astype(float), start.astype(float), **columns)


def run(model, table):
    """Run to the end and return completion times in picoseconds."""
    model.send(table)
    model.advance(float("inf"))
    return np.round(model.completions().finish_s * PS).astype(np.int64)


def control_records(model):
    """What the congestion control keeps of every queue pair."""
    form, stride = model.settings.control.handlers().state, int(model._tables.net["state_bytes"][0])
    rows = model._tables["states"].reshape(-1, stride)
    return np.ascontiguousarray(rows[:, : form.itemsize]).view(form)[:, 0]
