"""A decode node whose latencies and rates are measured parts, and what it predicts beside the published speeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zcube.calibrate.tile_parts import Part, TileParts
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import DecodeNode
from zcube.llm.decode_node.published import ACCEPTED_TOKENS, TILERT_POINTS, Published
from zcube.llm.decode_node.step import IdeaEffect, ideas, step
from zcube.llm.devices import device_names, load_device
from zcube.seeds import stream

#: Figures of a node that measured parts replace; the others stay those of its file.
MEASURED_FIGURES = ("signal_us", "stage_us", "kernel_us", "select_us", "memory_share", "index_share")


def measured_device(parts: TileParts) -> str | None:
    """Return the bundled device that was measured, by the model in the hardware's name; None where there is none of it."""
    words = parts.hardware.lower().replace(",", " ").replace("-", " ").split()
    return next((name for name in device_names() if name in words), None)


def measured_node(node: DecodeNode, parts: TileParts) -> DecodeNode:
    """Return the node with measured parts in place of its own figures.

    ``signal_us`` is what a message whose words carry their flags takes beyond its bytes, ``stage_us`` and ``kernel_us`` what a
    dependent stage takes beyond its weights as a part of a running kernel and as a kernel of a graph, ``select_us`` the exact
    top-k beyond its stage. ``memory_share`` and ``index_share`` are measured rates over the peaks of the device that was
    measured, so that they carry over to other GPUs; where that device is not among the bundled ones the node keeps its own.
    """
    times = {"signal_us": parts.put_us, "stage_us": parts.stage_us, "kernel_us": parts.kernel_us, "select_us": parts.select_us}
    figures = {name: part.value for name, part in times.items()}
    device = measured_device(parts)
    if device is not None:
        peak = load_device(device).peak
        figures["memory_share"] = min(parts.memory_gbytes_per_s.value / peak.memory_gbytes_per_s, 1.0)
        figures["index_share"] = min(parts.index_tflops.value / peak.bf16_tflops, 1.0)
    return node.model_copy(update={**figures, "source": f"{node.source}; {', '.join(figures)} measured on {parts.hardware}"})


@dataclass(frozen=True, slots=True)
class Prediction:
    """A published speed and the model's.

    Attributes
    ----------
    point : Published
        What was published.
    published_s, model_s : float
        Time of a step.
    """

    point: Published
    published_s: float
    model_s: float

    @property
    def error(self) -> float:
        """Relative error of the model's time."""
        return self.model_s / self.published_s - 1.0


def predictions(card: ModelCard, node: DecodeNode, points: Sequence[Published] = TILERT_POINTS) -> tuple[Prediction, ...]:
    """Return the time of a step at every published point beside the published one."""
    return tuple(
        Prediction(
            point,
            (ACCEPTED_TOKENS if point.drafts else 1.0) / point.tokens_per_s,
            step(card, node, point.context_tokens, point.drafts).total_s,
        )
        for point in points
    )


#: Draws of the parts within their intervals for the interval of what an idea saves.
IDEA_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Saving:
    """What an idea saves a step, microseconds: with the parts' values, and the central 95 % of draws from their intervals."""

    idea: str
    saved_us: float
    low_us: float
    high_us: float


def idea_savings(
    card: ModelCard, node: DecodeNode, parts: TileParts, context_tokens: int, drafts: int = 0, *, seed: int = 0
) -> tuple[Saving, ...]:
    """Return what each of TileRT's ideas saves a step with measured parts, microseconds, in the order of the chain.

    The interval is the central 95 % of :data:`IDEA_DRAWS` draws, in each of which every measured part lies anywhere within its
    own interval, apart from the others. Below zero an idea costs time.
    """
    generator = stream(seed, "idea-savings")
    drawn = [parts, *(_anywhere(parts, generator) for _ in range(IDEA_DRAWS))]
    saved = np.array([[effect.saved_s for effect in _chain(card, node, one, context_tokens, drafts)] for one in drawn]) * 1e6
    names = [effect.name for effect in _chain(card, node, parts, context_tokens, drafts)]
    found = []
    for place, name in list(enumerate(names))[1:]:
        low, high = np.quantile(saved[1:, place], [0.025, 0.975])
        found.append(Saving(name.removeprefix("+ "), float(saved[0, place]), float(low), float(high)))
    return tuple(found)


def _chain(card: ModelCard, node: DecodeNode, parts: TileParts, context_tokens: int, drafts: int) -> Sequence[IdeaEffect]:
    return ideas(card, measured_node(node, parts), context_tokens, drafts)


def _anywhere(parts: TileParts, generator: np.random.Generator) -> TileParts:
    """Return the parts a node takes, each drawn within its interval."""
    names = ("put_us", "stage_us", "kernel_us", "select_us", "memory_gbytes_per_s", "index_tflops")
    drawn = {}
    for name in names:
        part: Part = getattr(parts, name)
        drawn[name] = part.model_copy(update={"value": float(generator.uniform(part.low, part.high))})
    return parts.model_copy(update=drawn)
