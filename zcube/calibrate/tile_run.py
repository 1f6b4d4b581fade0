"""Measured tile parts in a run: what is taken from them, what its intervals leave open, and what is said of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.calibrate.bootstrap import LEVEL
from zcube.calibrate.tile_choices import TileChoices
from zcube.calibrate.tile_figures import CONVENTIONAL, Figures, conventional_figures, drawn_parts, measured_device, node_figures
from zcube.calibrate.tile_parts import TileParts
from zcube.inputs import validate
from zcube.llm.compute import ComputeModel, RooflineModel
from zcube.llm.decode_node.figures import DecodeNode, NodeFigures, load_node
from zcube.llm.devices import load_device
from zcube.llm.schedules.options import EngineOptions
from zcube.seeds import stream

#: Draws of the parts, of which some bound a run.
TILE_DRAWS = 200

#: What faults of the parts are told of: a scenario's key, and what ``--calibration`` sets.
TILES = "tiles.parts"


@dataclass(frozen=True, slots=True)
class AppliedTiles:
    """Measured parts, and what a run's engines take of them.

    Attributes
    ----------
    parts : TileParts
        What was measured.
    choices : TileChoices
        How it is taken.
    node : DecodeNode or None
        TileRT's node as its file has it, None where none runs.
    compute : ComputeModel or None
        The batched engine's compute times without the parts, None where none runs.
    given : NodeFigures
        Figures of the node that were asked for.
    """

    parts: TileParts
    choices: TileChoices
    node: DecodeNode | None
    compute: ComputeModel | None
    given: NodeFigures

    @property
    def of_node(self) -> Figures:
        """What TileRT's node takes."""
        return Figures() if self.node is None else node_figures(self.node, self.parts, self.choices, self.given)

    @property
    def of_batched(self) -> Figures:
        """What the batched engine's decode takes."""
        if not isinstance(self.compute, RooflineModel):
            return Figures()
        return conventional_figures(self.compute.device, self.parts, self.choices)

    def check(self) -> None:
        """Refuse parts that no node can have, at either end of their intervals: :class:`InputError`."""
        for end in ("low", "high"):
            validate(NodeFigures, {one.figure: getattr(one, end) for one in self.of_node.taken}, TILES)

    def node_figures(self) -> NodeFigures:
        """Return the node's figures: those asked for, else those measured."""
        return validate(NodeFigures, {**self.of_node.values, **self.given.given}, TILES)

    def with_starts(self, compute: ComputeModel) -> ComputeModel:
        """Return compute times whose decode takes the measured starts."""
        values = self.of_batched.values
        if not values or not isinstance(compute, RooflineModel):
            return compute
        kernel_us, all_reduce_us = (values.get(name) for name in CONVENTIONAL)
        return compute.with_decode_starts(kernel_us, all_reduce_us)

    def drawn(self, wanted: int, seconds: Callable[[AppliedTiles], float]) -> list[AppliedTiles]:
        """Return draws that bound a run.

        Parameters
        ----------
        wanted : int
            How many are picked, evenly by rank from end to end of the interval of :data:`~zcube.calibrate.bootstrap.LEVEL`.
        seconds : callable
            What the run's steps take by a draw.
        """
        if not wanted:
            return []
        generator = stream(0, "tile rounds")
        made = [self._with(drawn_parts(self.parts, generator)) for _ in range(TILE_DRAWS)]
        taken = np.array([seconds(one) for one in made])
        if np.ptp(taken) <= 1e-12 * taken.max():
            return []
        order = np.argsort(taken, kind="stable")
        tail = (1.0 - LEVEL) / 2
        ranks = np.round(np.linspace(tail, 1.0 - tail, wanted) * (TILE_DRAWS - 1)).astype(np.int64)
        return [made[number] for number in order[np.unique(ranks)]]

    def _with(self, parts: TileParts) -> AppliedTiles:
        return AppliedTiles(parts, self.choices, self.node, self.compute, self.given)

    def document(self, device: str) -> dict[str, Any]:
        """Return what is said of the parts, JSON-ready.

        Parameters
        ----------
        device : str
            Of the run's compute times.
        """
        devices = [device] if self.compute is not None else []
        devices += [self.node.device.name] if self.node is not None else []
        figures = {"tilert": self.node and self.of_node, "batched": self.compute and self.of_batched}
        return {
            "name": self.parts.hardware,
            "choices": self.choices.model_dump(mode="json", include=set(TileChoices.model_fields)),
            **{name: found.document() if isinstance(found, Figures) else None for name, found in figures.items()},
            "warnings": _of_another(self.parts, devices),
        }


def in_a_trace(
    engine: str, options: EngineOptions, parts: TileParts, choices: TileChoices
) -> tuple[EngineOptions, dict[str, Any]]:
    """Return the options of a generated trace with decode's figures as measured, and what is said of these, JSON-ready.

    A conventional engine's all-reduces are collectives of the trace, which a replay times; of the parts it takes a kernel's
    start, unless one was asked for.
    """
    device = load_device(options.device)
    tilert = engine == "tilert"
    if tilert:
        applied = AppliedTiles(parts, choices, load_node(options.tilert_node, device), None, options.tilert_figures)
        applied.check()
        figures = applied.of_node
        changed: dict[str, Any] = {"tilert_figures": applied.node_figures()}
    else:
        found = conventional_figures(device, parts, choices)
        kernel = tuple(one for one in found.taken if one.figure == CONVENTIONAL[0] and options.decode_kernel_us is None)
        kept = {CONVENTIONAL[1]: "a collective of the trace, which a replay times"}
        if not kernel:
            kept[CONVENTIONAL[0]] = found.kept.get(CONVENTIONAL[0], "asked for as decode_kernel_us")
        figures = Figures(kernel, kept)
        changed = {"decode_kernel_us": kernel[0].value if kernel else options.decode_kernel_us}
    said = {
        "name": parts.hardware,
        "choices": choices.model_dump(mode="json"),
        "tilert": figures.document() if tilert else None,
        "batched": None if tilert else figures.document(),
        "warnings": _of_another(parts, [device.name]),
    }
    return options.model_copy(update=changed), said


def _of_another(parts: TileParts, devices: Iterable[str]) -> list[str]:
    """Return warnings of devices whose decode takes times of another."""
    measured = measured_device(parts)
    return [
        f"decode is of {device}, the tiles are of {parts.hardware}: times are taken as they are"
        for device in dict.fromkeys(devices)
        if device != measured
    ]
