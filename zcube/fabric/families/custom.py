"""A fabric read from a list of its links: any graph of GPUs and switches.

The file is a link list (CSV), a SimAI topology or GraphML, told by content. GPUs are named ``s3g5``; every GPU has the same
number of NIC ports, in the order of their ports in the file.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, CableMedium, Cables, Fabric, SwitchGroup
from zcube.fabric.port_numbers import links_per_port
from zcube.fabric.ports import check_port_budget
from zcube.fabric.spec import FabricSpec, SwitchSpec
from zcube.fabric.wiring.link_list import NO_MEDIUM, NO_PORT, LinkList, NodeRole
from zcube.inputs import read_toml
from zcube.outputs import write_files

#: What switches of an imported fabric are unless it needs more.
SWITCH_PORTS, SWITCH_PORT_GBPS = 64, 400.0


class CustomSpec(FabricSpec):
    """A fabric whose links are listed in a file that lies beside the topology file.

    Rates, delays and media are the file's; cables whose medium it does not state are fibre. ``gpus`` is counted in the file and
    need not be given. ``switch`` is the model every switch is bought as. NVLink is ``nvlink_gbps`` inside every server.
    """

    routings: ClassVar[tuple[str, ...]] = ("ecmp", "shortest-path", "dual-plane", "hash")

    family: str = "custom"
    gpus: int = Field(default=0, ge=0, description="counted in the file; checked if given")
    links: str = Field(min_length=1, max_length=4096, description="file of links")

    def located(self, folder: Path) -> CustomSpec:
        """Return the spec with the file of links as a path."""
        return self.model_copy(update={"links": str(folder / self.links)})

    def build(self, name: str) -> Fabric:
        """Return the fabric.

        Raises
        ------
        InputError
            If the file cannot be read, or its graph is none of GPUs with equal NIC ports and switches.
        """
        # Formats are many, and other families need none.
        from zcube.fabric.wiring.formats import read_links

        return self.of_links(read_links(Path(self.links)), name)

    def of_links(self, links: LinkList, name: str) -> Fabric:
        """Return the fabric of links that have been read; faults as of :meth:`build`."""
        table = _numbered_ports(links, self.switch.port_gbps)
        self._check(table)
        sized = self.model_copy(update={"gpus": table.gpus, "gpus_per_server": table.gpus_per_server})
        groups, node = _switch_groups(table, self)
        nic, trunk = _split(table)
        ports = _nic_port_order(table, nic, self.links)
        columns = [_cables(table, node, rows, CableKind.NIC) for rows in ports]
        return sized.assemble(name, groups, columns, [_cables(table, node, trunk, CableKind.SWITCH)])

    def _check(self, table: LinkList) -> None:
        faults = []
        gpus = table.gpus
        if self.gpus and self.gpus != gpus:
            faults.append(Fault(f"{self.links}", f"{gpus} GPUs", f"{self.gpus}, as the topology's gpus"))
        size = max(1, table.gpus_per_server)
        odd = [name for gpu, name in enumerate(table.names[:gpus]) if name != f"s{gpu // size}g{gpu % size}"]
        if not gpus or odd:
            found = f"GPU {odd[0]} out of order" if odd else "no GPU"
            faults.append(Fault(f"{self.links}", found, "whole servers of equal size, GPUs named s0g0, s0g1, ... without gaps"))
        direct = (table.roles[table.a] == NodeRole.GPU) & (table.roles[table.b] == NodeRole.GPU)
        if direct.any():
            pair = f"{table.names[table.a[direct][0]]} to {table.names[table.b[direct][0]]}"
            faults.append(Fault(f"{self.links}", f"a link from GPU to GPU, {pair}", "GPUs linked to switches and NVSwitches"))
        if faults:
            raise InputError(faults)


def write_topology(source: Path, topology: Path, switch_ports: int | None = None, switch_port_gbps: float | None = None) -> int:
    """Write a topology file of this family, and beside it the links of any file that lists a whole fabric.

    Parameters
    ----------
    source : Path
        A SimAI topology, GraphML or link list.
    topology : Path
        TOML file to write; the links go to the same name with ``.links.csv``.
    switch_ports, switch_port_gbps : optional
        The switch every switch of the file is bought as; default: :data:`SWITCH_PORTS` ports, or the next power of two that
        holds the busiest switch's links, of :data:`SWITCH_PORT_GBPS`, or of the fastest link.

    Returns
    -------
    int
        NIC and inter-switch cables whose medium the source does not state.

    Raises
    ------
    InputError
        If the source is none of these, or is no fabric of this family, or has a cable that no modules can join.
    """
    from zcube.fabric.optics import optics_of
    from zcube.fabric.wiring.formats import read_links

    links = links_beside(topology)
    table = read_links(source)
    wired = np.concatenate(_split(table))
    if switch_port_gbps is None:
        switch_port_gbps = max(SWITCH_PORT_GBPS, float(table.gbps[wired].max(initial=0.0)))
    if switch_ports is None:
        switch_ports = max(SWITCH_PORTS, 1 << (_ports_needed(table, wired, switch_port_gbps) - 1).bit_length())
    keys = f'model = "{switch_ports}x{switch_port_gbps:g}G"\nports = {switch_ports}\nport_gbps = {switch_port_gbps!r}\n'
    switch = SwitchSpec(model=f"{switch_ports}x{switch_port_gbps:g}G", ports=switch_ports, port_gbps=switch_port_gbps)
    nvlink = _nvlink(table, source)
    fabric = CustomSpec(links=str(source), switch=switch, **nvlink).of_links(table, topology.stem)
    check_port_budget(fabric, str(source))
    # What no module can join, `fabric show` and `cost` would refuse.
    optics_of(fabric, "paper")
    inside = "".join(f"{key} = {value!r}\n" for key, value in nvlink.items())
    content = f'family = "custom"\nlinks = "{links.name}"\n{inside}\n[switch]\n{keys}'
    # First what names the other, so that the next import may replace both, wherever this one ends.
    write_files({topology: content, links: table.to_csv()})
    return int((table.medium[np.concatenate(_split(table))] == NO_MEDIUM).sum())


def _nvlink(table: LinkList, source: Path) -> dict[str, Any]:
    """Return the keys of a topology that say a GPU's rate and delay to its NVSwitches, none where there are none."""
    ends = np.stack([table.a, table.b])
    rows = np.flatnonzero((table.roles[ends] == NodeRole.NVSWITCH).any(axis=0))
    gpu = np.where(table.roles[table.a[rows]] == NodeRole.GPU, table.a[rows], table.b[rows])
    rates = np.unique(np.bincount(gpu, weights=table.gbps[rows])[np.unique(gpu)]).tolist()
    delays = np.unique(table.latency_s[rows]).tolist()
    if max(len(rates), len(delays)) > 1:
        found = f"NVLink of {rates[0]:g} to {rates[-1]:g} Gb/s a GPU, {delays[0]:g} to {delays[-1]:g} s"
        raise InputError(Fault(str(source), found, "one rate and one delay of NVLink in all servers"))
    return {"nvlink_gbps": rates[0], "nvlink_latency_s": delays[0]} if rates else {}


def _ports_needed(table: LinkList, wired: IntArray, port_gbps: float) -> int:
    """Return the native ports that the links of the busiest switch take, links of one rate sharing them."""
    ends = np.concatenate([table.a[wired], table.b[wired]])
    gbps = np.tile(table.gbps[wired], 2)
    at_switch = table.roles[ends] == NodeRole.SWITCH
    if not at_switch.any():
        return 1
    pairs, count = np.unique(np.stack([ends[at_switch], gbps[at_switch]], axis=1), axis=0, return_counts=True)
    ports = -(-count // np.maximum(1, links_per_port(port_gbps, pairs[:, 1])))
    return int(np.bincount(pairs[:, 0].astype(np.int64), weights=ports).max())


def links_beside(topology: Path) -> Path:
    """Return the link list that :func:`write_topology` writes beside a topology."""
    return topology.with_suffix(".links.csv")


def lists_links_beside(links: Path) -> bool:
    """Return whether a topology beside a file says that the file holds its links, as after :func:`write_topology`."""
    topology = links.with_name(f"{links.name.removesuffix('.links.csv')}.toml")
    try:
        return read_toml(topology).get("links") == links.name
    except InputError:
        return False


def _split(table: LinkList) -> tuple[IntArray, IntArray]:
    """Return the rows of NIC links and of inter-switch links; NVLink is put there by the spec."""
    at_a, at_b = table.roles[table.a], table.roles[table.b]
    nvlink = (at_a == NodeRole.NVSWITCH) | (at_b == NodeRole.NVSWITCH)
    gpu = (at_a == NodeRole.GPU) | (at_b == NodeRole.GPU)
    return np.flatnonzero(gpu & ~nvlink), np.flatnonzero(~gpu & ~nvlink)


def _nic_port_order(table: LinkList, nic: IntArray, source: str) -> list[IntArray]:
    """Return the rows of each NIC port, in GPU order."""
    gpu = np.where(table.roles[table.a[nic]] == NodeRole.GPU, table.a[nic], table.b[nic])
    port = np.where(table.roles[table.a[nic]] == NodeRole.GPU, table.a_port[nic], table.b_port[nic])
    order = nic[np.lexsort((nic, port, gpu))]
    count = np.bincount(gpu, minlength=table.gpus)
    odd = np.flatnonzero(count != count[0])
    if count[0] == 0 or len(odd):
        other = int(odd[0]) if len(odd) else 0
        found = f"{table.names[other]} with {count[other]} NIC links, {table.names[0]} with {count[0]}"
        raise InputError(Fault(source, found, "the same number of NIC links, at least one, on every GPU"))
    return list(order.reshape(table.gpus, -1).T)


def _switch_groups(table: LinkList, spec: CustomSpec) -> tuple[tuple[SwitchGroup, ...], IntArray]:
    """Return switches grouped by the letters of their names, and the new number of every node of the list."""
    switches = [node for node, role in enumerate(table.roles) if role == NodeRole.SWITCH]
    prefixes: dict[str, list[int]] = {}
    for node in switches:
        prefixes.setdefault(re.sub(r"\d+$", "", table.names[node]) or "switch", []).append(node)
    number = np.arange(len(table.names))
    groups, first, model = [], table.gpus, spec.switch.switch_model()
    for prefix, members in prefixes.items():
        number[members] = first + np.arange(len(members))
        names = tuple(table.names[node] for node in members)
        groups.append(SwitchGroup(prefix, first, len(members), model, names))
        first += len(members)
    return tuple(groups), number


def _cables(table: LinkList, node: IntArray, rows: IntArray, kind: CableKind) -> Cables:
    """Return rows of the list as cables, GPU end first."""
    swap = (kind == CableKind.NIC) & (table.roles[table.b[rows]] == NodeRole.GPU)
    a, b = np.where(swap, table.b[rows], table.a[rows]), np.where(swap, table.a[rows], table.b[rows])
    a_port = np.where(swap, table.b_port[rows], table.a_port[rows])
    b_port = np.where(swap, table.a_port[rows], table.b_port[rows])
    return Cables(
        a=node[a].astype(np.int32),
        b=node[b].astype(np.int32),
        a_port=a_port.astype(np.int32),
        b_port=b_port.astype(np.int32),
        gbps=table.gbps[rows],
        latency_s=table.latency_s[rows],
        kind=np.full(len(rows), kind, dtype=np.int8),
        # A file that does not say copper is counted with modules.
        medium=np.where(table.medium[rows] == CableMedium.COPPER, CableMedium.COPPER, CableMedium.FIBRE).astype(np.int8),
    )


def _numbered_ports(table: LinkList, port_gbps: float) -> LinkList:
    """Return the list with every open port numbered: per node, in order of the file, the lowest numbers not taken.

    Numbers count at the link's rate; links of a switch that split its native ports differently get native ports of their own.
    NVLink is left out.
    """
    ends, ports = np.stack([table.a, table.b]), np.stack([table.a_port, table.b_port])
    legs = np.where(table.roles[ends] == NodeRole.SWITCH, links_per_port(port_gbps, table.gbps), 1)
    # Native ports of each node: into how many each is split, and which parts are taken.
    taken: dict[int, dict[int, tuple[int, set[int]]]] = {}
    nvlink = (table.roles[ends] == NodeRole.NVSWITCH).any(axis=0)
    named, open_ = (ports != NO_PORT) & ~nvlink, (ports == NO_PORT) & ~nvlink
    for node, number, split in zip(ends[named].tolist(), ports[named].tolist(), legs[named].tolist()):
        taken.setdefault(node, {}).setdefault(number // split, (split, set()))[1].add(number % split)
    upcoming: dict[tuple[int, int], int] = {}
    for row, side in np.argwhere(open_.T).tolist():
        node, split = int(ends[side, row]), int(legs[side, row])
        native = taken.setdefault(node, {})
        number = upcoming.get((node, split), 0)
        while (used := native.get(number // split)) and (used[0] != split or number % split in used[1]):
            number += 1
        native.setdefault(number // split, (split, set()))[1].add(number % split)
        ports[side, row], upcoming[node, split] = number, number + 1
    return replace(table, a_port=ports[0], b_port=ports[1])
