"""A decode node whose latencies and rates are measured parts, and what it predicts beside the published speeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from zcube.calibrate.tile_choices import TileChoices
from zcube.calibrate.tile_figures import DEFAULT, drawn_parts, node_figures
from zcube.calibrate.tile_parts import TileParts
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import DecodeNode
from zcube.llm.decode_node.published import ACCEPTED_TOKENS, TILERT_POINTS, Published
from zcube.llm.decode_node.step import CHAIN, step, step_s
from zcube.seeds import stream


def measured_node(node: DecodeNode, parts: TileParts, choices: TileChoices = DEFAULT) -> DecodeNode:
    """Return the node with measured parts in place of its own figures; see :func:`node_figures`."""
    figures = node_figures(node, parts, choices).values
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
    drawn = [parts, *(drawn_parts(parts, generator) for _ in range(IDEA_DRAWS))]
    saved = np.array([_saved_s(card, measured_node(node, one), context_tokens, drafts) for one in drawn]) * 1e6
    found = []
    for place, (name, _) in enumerate(CHAIN[1:]):
        low, high = np.quantile(saved[1:, place], [0.025, 0.975])
        found.append(Saving(name.removeprefix("+ "), float(saved[0, place]), float(low), float(high)))
    return tuple(found)


def _saved_s(card: ModelCard, node: DecodeNode, context_tokens: int, drafts: int) -> list[float]:
    """Return what each variant of the chain saves against the one before it, as :func:`~zcube.llm.decode_node.step.ideas`."""
    times_s = [step_s(card, node, context_tokens, drafts, ideas=used) for _, used in CHAIN]
    return [before_s - after_s for before_s, after_s in pairwise(times_s)]
