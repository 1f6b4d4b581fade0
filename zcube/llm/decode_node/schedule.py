"""Decode steps as a communication trace: every computation of every GPU, every all-reduce, every broadcast.

All communication stays inside the node, over NVLink. Durations of communication are the model's; a replay that knows the
network replaces them. Each GPU computes in order; where a stretch starts without an all-reduce (a step's first layer, a
draft), every GPU waits for all, because the sampled ids are exchanged; their bytes are not public and left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import CONVENTIONAL, TILERT, DecodeNode, Ideas
from zcube.llm.decode_node.pipeline import LEAD
from zcube.llm.decode_node.step import stretches, worker_gpus
from zcube.llm.decode_node.timeline import Part, Stretch
from zcube.node import GPUS_PER_NODE
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import NONE, CommTrace

PHASE = "decode"
#: A step is some seven thousand operations.
MAX_STEPS = 1024
_GPUS = tuple(range(GPUS_PER_NODE))


def decode_trace(
    card: ModelCard,
    node: DecodeNode,
    context_tokens: int,
    drafts: int = 0,
    *,
    steps: int = 1,
    accepted_tokens: float = 1.0,
    ideas: Ideas = TILERT,
) -> CommTrace:
    """Return decode steps of one request on one node of eight ranks.

    Computations carry their time; all-reduces are collectives of the eight ranks with the bytes one rank puts in; a broadcast
    of selected ids is one transfer to each of seven peers, flags included. A layer's all-reduces carry its number; the
    prediction layer has the number after the last.

    Parameters
    ----------
    card, node, context_tokens, drafts, ideas
        As :func:`~zcube.llm.decode_node.step.step`.
    steps : int
        Steps, 1 .. 1024.
    accepted_tokens : float
        Tokens a step adds to the cache on average, 1 .. ``drafts + 1``; rounded down after each step.

    Raises
    ------
    InputError
        As :func:`~zcube.llm.decode_node.step.step`, also when the context outgrows the model, or if steps or accepted tokens
        are out of range.
    """
    faults = []
    if not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        faults.append(Fault("steps", repr(steps), f"1 .. {MAX_STEPS}"))
    if not 1.0 <= accepted_tokens <= max(0, drafts) + 1:
        faults.append(Fault("accepted tokens", repr(accepted_tokens), f"1 .. {max(0, drafts) + 1} (drafts + 1)"))
    if faults:
        raise InputError(faults)
    # The longest context is checked before any step is written.
    stretches(card, node, context_tokens + int((steps - 1) * accepted_tokens), drafts, query_tokens=None, ideas=ideas)
    writer = _Writer(TraceBuilder(GPUS_PER_NODE, GPUS_PER_NODE), worker_gpus(ideas), card.layers)
    for number in range(steps):
        cached = context_tokens + int(number * accepted_tokens)
        writer.step(stretches(card, node, cached, drafts, query_tokens=None, ideas=ideas))
    named = {TILERT: "tilert", CONVENTIONAL: "conventional"}
    return writer.builder.build(
        {
            "engine": named.get(ideas, "mixed"),
            "ideas": asdict(ideas),
            "model": card.name,
            "node": node.name,
            "device": node.device.name,
            "context_tokens": context_tokens,
            "drafts": drafts,
            "steps": steps,
            "accepted_tokens": accepted_tokens,
            "compute": f"decode node {node.name}: {node.source}",
            "network": "NVLink inside one node",
        }
    )


@dataclass
class _Writer:
    """Appends stretches to a trace.

    Attributes
    ----------
    builder : TraceBuilder
        Where to.
    gpus : dict
        GPUs of each kind of worker.
    layers : int
        Layers of the model; drafts carry this number.
    last : int array [8]
        Last computation of each GPU, -1 before the first.
    layer : int
        Layer of the stretch before, -1 after an output head.
    """

    builder: TraceBuilder
    gpus: dict[int, tuple[int, ...]]
    layers: int
    last: IntArray = field(default_factory=lambda: np.full(GPUS_PER_NODE, NONE, dtype=np.int64))
    layer: int = NONE

    def step(self, made: Iterable[tuple[Stretch, int, bool]]) -> None:
        """Append one step, each layer with its number."""
        layer = 0
        self.layer = NONE
        for stretch, times, is_draft in made:
            for _ in range(times):
                if not stretch.name.endswith("layer"):
                    self._stretch(stretch, NONE)
                elif is_draft:
                    self._stretch(stretch, self.layers)
                else:
                    self._stretch(stretch, layer)
                    layer += 1

    def _stretch(self, stretch: Stretch, layer: int) -> None:
        # IntArray of a part's operations by GPU: one each, or the same eight times for an all-reduce.
        written: list[IntArray] = []
        level = [] if stretch.parts[0].message else [np.full(GPUS_PER_NODE, number) for number in self.last]
        started: set[int] = set()
        for place, part in enumerate(stretch.parts):
            waits = [written[earlier] for earlier in part.after]
            if part.message == "all-reduce":
                # The all-reduce that starts a stretch belongs to the layer before.
                written.append(self._all_reduce(part, layer if place else self.layer, waits))
            elif part.message == "broadcast":
                written.append(self._broadcast(part, layer, waits or level))
            else:
                before = [self.last] if part.worker in started else level or [self.last]
                started.add(part.worker)
                written.append(self._compute(part, layer, [*before, *waits]))
        self.layer = layer

    def _compute(self, part: Part, layer: int, waits: list[IntArray]) -> IntArray:
        gpus = np.array(self.gpus[part.worker])
        after = [wait[gpus] for wait in waits]
        rows = self.builder.compute(part.name, gpus, part.duration_s, phase=PHASE, layer=layer, after=after)
        self.last[gpus] = rows
        return self._by_gpu(gpus, rows)

    def _all_reduce(self, part: Part, layer: int, waits: list[IntArray]) -> IntArray:
        # Every GPU puts in its part once its last computation is done; what it streams meanwhile comes later.
        after = {int(number) for numbers in (*waits, self.last) for number in numbers if number >= 0}
        row = self.builder.collective(
            part.name, _GPUS, part.size_bytes, phase=PHASE, layer=layer, duration_s=part.duration_s, after=sorted(after)
        )
        return np.full(GPUS_PER_NODE, row, dtype=np.int64)

    def _broadcast(self, part: Part, layer: int, waits: list[IntArray]) -> IntArray:
        peers = np.array([gpu for gpu in _GPUS if gpu != LEAD])
        # A wait for GPU 0 holds for all peers; a wait for the peers themselves holds for each alone.
        after = [np.where(wait[peers] >= 0, wait[peers], wait[LEAD]) for wait in waits]
        rows = self.builder.transfer(
            part.name, LEAD, peers, part.size_bytes, phase=PHASE, layer=layer, duration_s=part.duration_s, after=after
        )
        return self._by_gpu(peers, rows)

    @staticmethod
    def _by_gpu(gpus: IntArray, rows: IntArray) -> IntArray:
        numbers = np.full(GPUS_PER_NODE, NONE, dtype=np.int64)
        numbers[gpus] = rows
        return numbers
