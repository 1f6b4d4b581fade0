"""ATOP's hyper-parameters as a genome: a row of whole numbers, each the place of a value in a menu.

Every genome has the same genes, whether they come to anything or not: those of a layer without switches, or of a join without
links, are silent. Blocks and sizes are places among the divisors of what they part, so that every genome is well formed; what
it may still lack is told in :mod:`zcube.plan.search.feasibility`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.families.layered import MOST_DIMENSIONS, MOST_RATE_UNITS, MOST_SWITCH_LAYERS, LayeredSpec
from zcube.inputs import validate
from zcube.plan.demand import Site

#: Line rate of a GPU in units of rates: the paper's 200G where it is 400G.
UNITS_PER_GPU = 2
#: Links of a GPU, and of a switch, into a layer; 0: none.
GPU_LINKS = (0, 1, 2, 4)
SWITCH_LINKS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
#: Places kept for divisors; most targets inside a layer, and what their coordinates are multiplied by and moved by.
DIVISORS, MOST_TARGETS, FACTORS, OFFSETS = 24, 4, (1, -1, 2, 0), 16
#: Parts of the genomes drawn at first in which a layer has no switches, and a join, or a layer's inside, no links.
LAYER_ABSENT, JOIN_ABSENT, INSIDE_ABSENT = 0.25, 0.5, 0.8

#: Of the genes that come to something, as many change on the mean; of those that change so many move to a place beside.
GENES_CHANGED, BESIDE = 2.0, 0.5

JOINS = tuple((i, j) for i in range(MOST_SWITCH_LAYERS) for j in range(i + 1, MOST_SWITCH_LAYERS + 1))

Genome = tuple[int, ...]


@cache
def divisors(number: int) -> tuple[int, ...]:
    """Return the divisors of a number, rising."""
    return tuple(one for one in range(1, number + 1) if number % one == 0)


@dataclass(frozen=True)
class Space:
    """The genomes of a demand.

    Attributes
    ----------
    site : Site
        The demand with its files read.
    """

    site: Site

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Switches that a layer may have: none, divisors of the GPUs, and half as many again."""
        gpus = self.site.demand.gpus
        half_more = {one * 3 // 2 for one in divisors(gpus) if one % 2 == 0}
        return tuple(sorted(count for count in {0, *divisors(gpus), *half_more} if count <= gpus))

    @cached_property
    def menus(self) -> dict[str, int]:
        """Choices of every gene by its name, in their order."""
        menus = {"switch": len(self.site.switches)}
        menus |= {f"layer {layer}": len(self.counts) for layer in range(1, MOST_SWITCH_LAYERS + 1)}
        for i, j in JOINS:
            links = GPU_LINKS if i == 0 else SWITCH_LINKS
            menus |= {f"join {i} {j} links": len(links), f"join {i} {j} rate": MOST_RATE_UNITS}
            menus |= {f"join {i} {j} lower blocks": DIVISORS, f"join {i} {j} upper blocks": DIVISORS}
        for layer in range(1, MOST_SWITCH_LAYERS + 1):
            inside = f"inside {layer}"
            menus |= {f"{inside} targets": MOST_TARGETS + 1, f"{inside} rate": MOST_RATE_UNITS}
            menus |= {f"{inside} dimensions": MOST_DIMENSIONS}
            menus |= {f"{inside} size {d}": DIVISORS for d in range(MOST_DIMENSIONS - 1)}
            for p in range(MOST_TARGETS):
                menus |= {f"{inside} factor {p} {d}": len(FACTORS) for d in range(MOST_DIMENSIONS)}
                menus |= {f"{inside} offset {p} {d}": OFFSETS for d in range(MOST_DIMENSIONS)}
        return menus

    @cached_property
    def choices(self) -> IntArray:
        """Choices of every gene [genes]."""
        return np.array(list(self.menus.values()))

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.menus)}

    @cached_property
    def parts(self) -> list[str]:
        """What each gene belongs to: the switch, a layer, a join, the inside of a layer."""
        words = (name.split() for name in self.menus)
        return [" ".join(word[: 3 if word[0] == "join" else 2]) for word in words]

    def drawn(self, count: int, draw: np.random.Generator) -> IntArray:
        """Return genomes drawn at random [count, genes]: nothing of any family is put in."""
        genomes = draw.integers(0, self.choices, size=(count, len(self.choices)))
        for name, place in self._place.items():
            kind = "layer" if name.startswith("layer") else name.split()[-1]
            absent = {"layer": LAYER_ABSENT, "links": JOIN_ABSENT, "targets": INSIDE_ABSENT}.get(kind)
            if absent is not None:
                genomes[draw.random(count) < absent, place] = 0
        return np.array([self.silenced(genome) for genome in genomes])

    def silenced(self, genome: IntArray) -> IntArray:
        """Return a genome whose genes that come to nothing are at the first place of their menus."""
        return np.where(self.heard(genome), genome, 0)

    def mutated(self, genome: IntArray, draw: np.random.Generator) -> IntArray:
        """Return a genome with some genes changed that come to something."""
        heard = self.heard(genome)
        changed = heard & (draw.random(len(genome)) < GENES_CHANGED / heard.sum())
        beside = np.clip(genome + draw.choice([-1, 1], len(genome)), 0, self.choices - 1)
        new = np.where(draw.random(len(genome)) < BESIDE, beside, draw.integers(0, self.choices))
        return self.silenced(np.where(changed, new, genome))

    def heard(self, genome: Sequence[int] | IntArray) -> BoolArray:
        """Return which genes come to something [genes]."""
        heard = np.zeros(len(self.choices), dtype=bool)
        heard[[self._place[name] for name in self._heard(genome)]] = True
        return heard

    def _heard(self, genome: Sequence[int] | IntArray) -> Iterator[str]:
        gene = dict(zip(self.menus, map(int, genome), strict=True))
        present = [0, *(layer for layer, count in self._layers(gene).items() if count)]
        yield "switch"
        yield from (f"layer {layer}" for layer in range(1, MOST_SWITCH_LAYERS + 1))
        for i, j in JOINS:
            if i in present and j in present:
                yield f"join {i} {j} links"
                if gene[f"join {i} {j} links"]:
                    yield from (f"join {i} {j} {what}" for what in ("rate", "lower blocks", "upper blocks"))
        for layer in present[1:]:
            yield f"inside {layer} targets"
            if gene[f"inside {layer} targets"]:
                dimensions = gene[f"inside {layer} dimensions"] + 1
                yield from (f"inside {layer} {what}" for what in ("rate", "dimensions"))
                yield from (f"inside {layer} size {d}" for d in range(dimensions - 1))
                for p in range(gene[f"inside {layer} targets"]):
                    yield from (f"inside {layer} {what} {p} {d}" for d in range(dimensions) for what in ("factor", "offset"))

    def spec(self, genome: Sequence[int]) -> LayeredSpec | None:
        """Return the fabric of a genome, None where its GPUs have no link.

        ``nic_gbps`` is what the links of a GPU come to; that it is the demand's is not sure.
        """
        gene = dict(zip(self.menus, map(int, genome), strict=True))
        switch = list(self.site.switches.values())[gene["switch"]]
        layers = {layer: count for layer, count in self._layers(gene).items() if count}
        number = {layer: place for place, layer in enumerate([0, *layers])}
        nodes = {0: self.site.demand.gpus, **layers}
        joins = [self._join(gene, i, j, nodes) | {"lower": number[i], "upper": number[j]} for i, j in self._joined(gene, nodes)]
        unit_gbps = self.site.nic_gbps / UNITS_PER_GPU
        nic_gbps = sum(join["links"] * join["rate_units"] for join in joins if join["lower"] == 0) * unit_gbps
        if not nic_gbps:
            return None
        keys = {
            "gpus": self.site.demand.gpus,
            "gpus_per_server": self.site.demand.gpus_per_server,
            "nic_gbps": nic_gbps,
            "switch": switch.model_dump(exclude_defaults=True),
            "layers": tuple(layers.values()),
            "joins": joins,
            "inner": [
                self._inner(gene, layer, nodes) | {"layer": number[layer]}
                for layer in layers
                if gene[f"inside {layer} targets"]
            ],
            "unit_gbps": unit_gbps,
        }
        return validate(LayeredSpec, keys, "genome")

    def _layers(self, gene: dict[str, int]) -> dict[int, int]:
        return {layer: self.counts[gene[f"layer {layer}"]] for layer in range(1, MOST_SWITCH_LAYERS + 1)}

    def _joined(self, gene: dict[str, int], nodes: dict[int, int]) -> list[tuple[int, int]]:
        return [(i, j) for i, j in JOINS if i in nodes and j in nodes and gene[f"join {i} {j} links"]]

    def _join(self, gene: dict[str, int], i: int, j: int, nodes: dict[int, int]) -> dict[str, Any]:
        lower, upper = divisors(nodes[i]), divisors(nodes[j])
        return {
            "lower_blocks": lower[gene[f"join {i} {j} lower blocks"] % len(lower)],
            "upper_blocks": upper[gene[f"join {i} {j} upper blocks"] % len(upper)],
            "links": (GPU_LINKS if i == 0 else SWITCH_LINKS)[gene[f"join {i} {j} links"]],
            "rate_units": gene[f"join {i} {j} rate"] + 1,
        }

    def _inner(self, gene: dict[str, int], layer: int, nodes: dict[int, int]) -> dict[str, Any]:
        inside, left, sizes = f"inside {layer}", nodes[layer], []
        dimensions = gene[f"{inside} dimensions"] + 1
        for d in range(dimensions - 1):
            menu = divisors(left)
            sizes.append(menu[gene[f"{inside} size {d}"] % len(menu)])
            left //= sizes[-1]
        targets = [
            {
                "factor": [FACTORS[gene[f"{inside} factor {p} {d}"]] for d in range(dimensions)],
                "offset": [gene[f"{inside} offset {p} {d}"] for d in range(dimensions)],
            }
            for p in range(gene[f"{inside} targets"])
        ]
        return {"sizes": [*sizes, left], "targets": targets, "rate_units": gene[f"{inside} rate"] + 1}
