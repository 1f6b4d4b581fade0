"""Where the parts of a fabric go in its picture: tiers from servers upwards, what repeats put together.

Tiers follow the distance from GPUs, counted over cables whether up or not, so that any family can be drawn. Switches of one
distance that are cabled to each other, as ZCube's two groups are, or too many for one row, get a row each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.model import CableKind, Fabric

#: Boxes in a row; beyond, what has equal neighbours below shares a box, and what is still too many is left out in the middle.
MOST_BOXES = 16
_SHOWN_FIRST, _SHOWN_LAST = 12, 3


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the picture.

    Attributes
    ----------
    text : tuple of str
        Lines written into it.
    row : int
        0 for servers, then upwards.
    x : float
        Middle, 0 to 1.
    width : float
        Of the same unit.
    omitted : bool
        The box stands for those left out.
    failed : bool
        A switch in it has no cable left.
    """

    text: tuple[str, ...]
    row: int
    x: float
    width: float
    omitted: bool
    failed: bool


@dataclass(frozen=True, eq=False)
class Layout:
    """Boxes, the box of every node, and which switches a row holds.

    Attributes
    ----------
    boxes : list of Box
        All boxes.
    box_of_node : int array [gpus + switches]
        Box of each GPU (that of its server) and switch.
    rows : list of list of (str, int array)
        Per row of switches, from below: role and nodes.
    """

    boxes: list[Box]
    box_of_node: IntArray
    rows: list[list[tuple[str, IntArray]]]


def lay_out(fabric: Fabric) -> Layout:
    """Return the layout of a fabric's picture."""
    box_of_node = np.full(fabric.gpus + fabric.switches, -1, dtype=np.int64)
    boxes: list[Box] = []
    failed = _dead_switches(fabric)
    _place(boxes, box_of_node, 0, *_server_blocks(fabric), failed, fabric.gpus_per_server)
    rows = _switch_rows(fabric)
    for number, units in enumerate(rows, start=1):
        nodes_of_box: list[IntArray] = []
        texts: list[tuple[str, ...]] = []
        for role, nodes in units:
            merged = _merged(fabric, nodes, box_of_node, MOST_BOXES // len(units))
            nodes_of_box += merged
            first = _first_node(fabric, int(nodes[0]))
            texts += [_switch_text(role, part - first) for part in merged]
        before = len(boxes)
        _place(boxes, box_of_node, number, nodes_of_box, texts, failed)
        for place in range(before, len(boxes)):
            boxes[place] = _left_out_with_servers(fabric, boxes, box_of_node, place)
    return Layout(boxes, box_of_node, rows)


@dataclass(frozen=True, eq=False)
class Groups:
    """What an interactive picture shows put together at first.

    Attributes
    ----------
    servers : list of int array
        Blocks of neighbouring servers that share the switches of NIC port 0: servers of each.
    rows : list of list of int array
        Per row of switches, from below: switches that are shown as one, by node.
    """

    servers: list[IntArray]
    rows: list[list[IntArray]]


def grouped(fabric: Fabric, most: int) -> Groups:
    """Return servers in blocks, and switches one by one or, where a row has more than ``most``, neighbours together."""
    blocks, _ = _server_blocks(fabric)
    box_of_node = np.full(fabric.gpus + fabric.switches, -1, dtype=np.int64)
    for number, block in enumerate(blocks):
        box_of_node[block] = number
    rows: list[list[IntArray]] = []
    boxes = len(blocks)
    for units in _switch_rows(fabric):
        row: list[IntArray] = []
        for _, nodes in units:
            together = _merged(fabric, nodes, box_of_node, most // len(units))
            if len(together) > most // len(units):
                together = np.array_split(nodes, most // len(units))
            row += together
        for number, nodes in enumerate(row, start=boxes):
            box_of_node[nodes] = number
        boxes += len(row)
        rows.append(row)
    size = fabric.gpus_per_server
    if len(blocks) > most:
        blocks = [np.concatenate(part) for part in _chunks(blocks, most)]
    return Groups([block[::size] // size for block in blocks], rows)


def _chunks(blocks: list[IntArray], most: int) -> list[list[IntArray]]:
    return [[blocks[place] for place in part] for part in np.array_split(np.arange(len(blocks)), most)]


def _left_out_with_servers(fabric: Fabric, boxes: list[Box], box_of_node: IntArray, place: int) -> Box:
    """Return a box of several switches as one left out, if the only servers on them are left out."""
    mine = np.flatnonzero(box_of_node == place)
    below = {box for boxes_below in _boxes_below(fabric, mine, box_of_node) for box in boxes_below if boxes[box].row == 0}
    if len(mine) < 2 or not below or not all(boxes[box].omitted for box in below):
        return boxes[place]
    return replace(boxes[place], text=("...", f"{len(mine)} more"), omitted=True)


def _server_blocks(fabric: Fabric) -> tuple[list[IntArray], list[tuple[str, ...]]]:
    """Return servers as blocks of neighbours that share the switches of NIC port 0: GPUs and text of each."""
    size = fabric.gpus_per_server
    switch = np.sort(fabric.cables.b[fabric.nic_cable[:, 0]].reshape(-1, size), axis=1)
    begins = np.concatenate([[True], (switch[1:] != switch[:-1]).any(axis=1)])
    blocks = np.split(np.arange(fabric.gpus).reshape(-1, size), np.flatnonzero(begins)[1:])
    texts: list[tuple[str, ...]] = []
    for block in blocks:
        first, last = int(block[0, 0]) // size, int(block[-1, 0]) // size
        count = f"{len(block)} servers" if len(block) > 1 else "1 server"
        name = f"s{first}..{last}" if last > first else f"s{first}"
        texts.append((name, count, f"x {size} GPUs" if size > 1 else "x 1 GPU"))
    return [block.ravel() for block in blocks], texts


def _switch_rows(fabric: Fabric) -> list[list[tuple[str, IntArray]]]:
    """Return rows of switches from below, each as roles with their nodes."""
    distance = _distances(fabric)
    units = []
    for group in fabric.groups:
        nodes = group.first_node + np.arange(group.count)
        away = distance[nodes - fabric.gpus]
        units += [(int(step), group.name, nodes[away == step]) for step in np.unique(away)]
    units.sort(key=lambda unit: unit[0])
    rows: list[list[tuple[str, IntArray]]] = []
    row_distance = -1
    for step, role, nodes in units:
        beside = bool(rows) and step == row_distance and not any(_cabled(fabric, nodes, other) for _, other in rows[-1])
        if beside and sum(len(other) for _, other in rows[-1]) + len(nodes) <= MOST_BOXES:
            rows[-1].append((role, nodes))
        else:
            rows.append([(role, nodes)])
        row_distance = step
    return rows


def _distances(fabric: Fabric) -> IntArray:
    """Return hops from the nearest GPU of each switch; those that none leads to come last [switches]."""
    cables, gpus = fabric.cables, fabric.gpus
    trunk = cables.kind == CableKind.SWITCH
    a, b = cables.a[trunk] - gpus, cables.b[trunk] - gpus
    far = fabric.switches + 1
    distance = np.full(fabric.switches, far)
    distance[cables.b[fabric.nic_cable] - gpus] = 1
    for _ in range(fabric.switches):
        before = distance.copy()
        np.minimum.at(distance, b, before[a] + 1)
        np.minimum.at(distance, a, before[b] + 1)
        if (distance == before).all():
            break
    return np.minimum(distance, far)


def _cabled(fabric: Fabric, one: IntArray, other: IntArray) -> bool:
    cables = fabric.cables
    in_one, in_other = np.zeros(fabric.nodes, dtype=bool), np.zeros(fabric.nodes, dtype=bool)
    in_one[one] = in_other[other] = True
    return bool(((in_one[cables.a] & in_other[cables.b]) | (in_other[cables.a] & in_one[cables.b])).any())


def _merged(fabric: Fabric, nodes: IntArray, box_of_node: IntArray, most: int) -> list[IntArray]:
    """Return switches one by one or, if they are too many, neighbours with equal boxes below together."""
    single = [nodes[place : place + 1] for place in range(len(nodes))]
    if len(nodes) <= most:
        return single
    below = _boxes_below(fabric, nodes, box_of_node)
    begins = np.array([place == 0 or below[place] != below[place - 1] for place in range(len(nodes))])
    together = np.split(nodes, np.flatnonzero(begins)[1:])
    # One box for all would hide how they are meshed.
    return together if 1 < len(together) < len(nodes) else single


def _boxes_below(fabric: Fabric, nodes: IntArray, box_of_node: IntArray) -> list[tuple[int, ...]]:
    cables = fabric.cables
    place = np.full(fabric.nodes, -1)
    place[nodes] = np.arange(len(nodes))
    box = np.concatenate([box_of_node, np.full(fabric.servers, -1)])
    pairs = np.concatenate([np.stack([place[cables.b], box[cables.a]]), np.stack([place[cables.a], box[cables.b]])], axis=1)
    pairs = np.unique(pairs[:, (pairs[0] >= 0) & (pairs[1] >= 0)], axis=1)
    below: list[list[int]] = [[] for _ in nodes]
    for switch, lower in pairs.T.tolist():
        below[switch].append(lower)
    return [tuple(boxes) for boxes in below]


def _dead_switches(fabric: Fabric) -> BoolArray:
    """Return which nodes are switches that have lost every cable [gpus + switches]."""
    cables = fabric.cables
    ends = np.concatenate([cables.a, cables.b])
    had = np.bincount(ends, minlength=fabric.nodes)
    left = np.bincount(ends, weights=np.tile(fabric.cable_up, 2), minlength=fabric.nodes)
    dead = (had > 0) & (left == 0)
    dead[: fabric.gpus] = False
    return np.asarray(dead[: fabric.gpus + fabric.switches])


def _first_node(fabric: Fabric, node: int) -> int:
    return next(group.first_node for group in fabric.groups if group.first_node <= node < group.first_node + group.count)


def _switch_text(role: str, numbers: IntArray) -> tuple[str, ...]:
    if len(numbers) == 1:
        return (f"{role}{numbers[0]}",)
    return (role, f"{numbers[0]}..{numbers[-1]}", f"({len(numbers)})")


def _place(
    boxes: list[Box],
    box_of_node: IntArray,
    row: int,
    nodes_of_box: Sequence[IntArray],
    texts: Sequence[tuple[str, ...]],
    failed: BoolArray,
    nodes_each: int = 1,
) -> None:
    """Put boxes side by side; of too many the middle ones share one that says how many servers or switches it stands for."""
    keep = list(range(len(texts)))
    omitted: list[int] = []
    if len(texts) > MOST_BOXES:
        keep = [*range(_SHOWN_FIRST), *range(len(texts) - _SHOWN_LAST, len(texts))]
        omitted = list(range(_SHOWN_FIRST, len(texts) - _SHOWN_LAST))
    slots: list[list[int]] = [[place] for place in keep]
    if omitted:
        slots.insert(_SHOWN_FIRST, omitted)
    for slot, members in enumerate(slots):
        hidden = len(members) > 1
        more = sum(len(nodes_of_box[member]) for member in members) // nodes_each
        text = ("...", f"{more:,} more") if hidden else texts[members[0]]
        for member in members:
            box_of_node[nodes_of_box[member]] = len(boxes)
        broken = any(bool(failed[nodes_of_box[member]].any()) for member in members)
        width = min(0.86 / len(slots), 0.16 if row else 0.30)
        boxes.append(Box(text, row, (slot + 0.5) / len(slots), width, hidden, broken))
