"""How full switches, kinds of links and the fullest links of a fabric were over time; docs/metrics.md defines every column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.fabric.model import Fabric
from zcube.network.load_watch import LoadWatch

if TYPE_CHECKING:
    import pandas as pd

#: Bins into which a run is cut unless something else is asked for.
DEFAULT_BINS = 120
#: Links whose load over time is kept: those that carried most of what they can in the whole of it.
LINKS_KEPT = 64


@dataclass(frozen=True, eq=False)
class LoadOverTime:
    """What was carried in bins of time, one after the other.

    Attributes
    ----------
    edges_s : float array [bins + 1]
        Where bins begin and end. The first and the last may be up to half a bin longer or shorter than the others.
    switches : sequence of str
        Names of the switches, in order of their nodes.
    switch_bytes : float array [bins, switches]
        Carried by the links that leave a switch.
    switch_capacity_bps : float array [switches]
        Line rates of these links together.
    switch_fullest : float array [bins, switches]
        Utilisation of the fullest of them.
    kinds : sequence of str
        Kinds of links by the roles of their ends: ``gpu>leaf``.
    kind_bytes : float array [bins, kinds]
        Carried by all links of a kind.
    kind_capacity_bps : float array [kinds]
        Line rates of these together.
    links : int array [links kept]
        Numbers of the fullest links, the fullest first.
    link_names : sequence of str
        ``from>to`` of each.
    link_bytes : float array [bins, links kept]
        Carried by each.
    link_capacity_bps : float array [links kept]
        Line rate of each.
    """

    edges_s: FloatArray
    switches: Sequence[str]
    switch_bytes: FloatArray
    switch_capacity_bps: FloatArray
    switch_fullest: FloatArray
    kinds: Sequence[str]
    kind_bytes: FloatArray
    kind_capacity_bps: FloatArray
    links: IntArray
    link_names: Sequence[str]
    link_bytes: FloatArray
    link_capacity_bps: FloatArray

    @staticmethod
    def of(
        fabric: Fabric, watch: LoadWatch, window_s: tuple[float, float], at_start_bytes: FloatArray, at_end_bytes: FloatArray
    ) -> LoadOverTime | None:
        """Return what a watch has read of a fabric's links between two times, None where nothing can be said.

        Parameters
        ----------
        fabric : Fabric
            Whose links were read.
        watch : LoadWatch
            With all readings up to the end.
        window_s : tuple of float
            Between which times.
        at_start_bytes, at_end_bytes : float array [links]
            What every link had carried at these times.
        """
        start_s, end_s = window_s
        if len(at_start_bytes) != fabric.links or not end_s > start_s:
            return None
        times_s, read_bytes = watch.between(start_s, end_s)
        edges_s = np.concatenate([[start_s], times_s, [end_s]])
        carried = np.diff(np.concatenate([at_start_bytes[None], read_bytes, at_end_bytes[None]]), axis=0)
        capacity, (source, target) = fabric.link_capacity_bps, (fabric.link_source, fabric.link_target)
        used = _share(8.0 * carried, capacity * np.diff(edges_s)[:, None])
        out_of = np.flatnonzero((source >= fabric.gpus) & (source < fabric.gpus + fabric.switches))
        switch, (kind_of, kinds) = source[out_of] - fabric.gpus, _kinds(fabric)
        whole = _share(8.0 * (at_end_bytes - at_start_bytes), capacity * (end_s - start_s))
        fullest = np.argsort(-whole, kind="stable")[:LINKS_KEPT]
        fullest = fullest[whole[fullest] > 0]
        names = np.array(fabric.node_names, dtype=object)
        highest = np.zeros((len(carried), fabric.switches))
        order = np.argsort(switch, kind="stable")
        present, first = np.unique(switch[order], return_index=True)
        if len(present):
            highest[:, present] = np.maximum.reduceat(used[:, out_of[order]], first, axis=1)
        return LoadOverTime(
            edges_s,
            list(fabric.switch_names),
            _summed(carried[:, out_of], switch, fabric.switches),
            _summed(capacity[None, out_of], switch, fabric.switches)[0],
            highest,
            kinds,
            _summed(carried, kind_of, len(kinds)),
            _summed(capacity[None], kind_of, len(kinds))[0],
            fullest,
            [f"{names[source[link]]}>{names[target[link]]}" for link in fullest],
            carried[:, fullest],
            capacity[fullest],
        )

    def frame(self) -> pd.DataFrame:
        """Return it as a table, a row per bin and switch, kind of links or link, as it is written."""
        import pandas as pd

        width_s = np.diff(self.edges_s)
        pieces = []
        for what, names, carried, capacity in (
            ("switch", self.switches, self.switch_bytes, self.switch_capacity_bps),
            ("kind", self.kinds, self.kind_bytes, self.kind_capacity_bps),
            ("link", self.link_names, self.link_bytes, self.link_capacity_bps),
        ):
            bins, count = carried.shape
            fullest = self.switch_fullest if what == "switch" else np.full(carried.shape, np.nan)
            link = self.links if what == "link" else np.full(count, -1)
            pieces.append(
                {
                    "of": np.full(bins * count, what, dtype=object),
                    "name": np.tile(np.array(names, dtype=object), bins),
                    "link": np.tile(link, bins),
                    "bin_start_s": np.repeat(self.edges_s[:-1], count),
                    "bin_end_s": np.repeat(self.edges_s[1:], count),
                    "bytes": carried.ravel(),
                    "capacity_bps": np.tile(capacity, bins),
                    "utilisation": _share(8.0 * carried, capacity * width_s[:, None]).ravel(),
                    "fullest_link_utilisation": fullest.ravel(),
                }
            )
        return pd.concat([pd.DataFrame(piece) for piece in pieces], ignore_index=True)


def _share(bits: FloatArray, possible: FloatArray) -> FloatArray:
    """Return carried bits over possible ones, 0 where none are possible."""
    return np.divide(bits, possible, out=np.zeros(np.broadcast_shapes(bits.shape, possible.shape)), where=possible > 0)


def _summed(carried: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """Return the sums of columns by group [bins, groups]."""
    return np.array([np.bincount(group, row, groups) for row in carried], dtype=np.float64)


def _kinds(fabric: Fabric) -> tuple[IntArray, list[str]]:
    """Return the kind of every link by the roles of its ends, and the names of kinds."""
    roles = ["gpu", *(group.name for group in fabric.groups), "nvswitch"]
    role = np.zeros(fabric.nodes, dtype=np.int64)
    for number, group in enumerate(fabric.groups, start=1):
        role[group.first_node : group.first_node + group.count] = number
    role[fabric.gpus + fabric.switches :] = len(roles) - 1
    code = role[fabric.link_source] * len(roles) + role[fabric.link_target]
    present, kind = np.unique(code, return_inverse=True)
    return kind.ravel(), [f"{roles[one // len(roles)]}>{roles[one % len(roles)]}" for one in present.tolist()]
