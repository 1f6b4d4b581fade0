"""Pipelines: a node whose layers are dealt to stages, each on GPUs of its own, and the activations between them.

With p stages, m parts of an iteration, t what one stage takes for one part, and c what the transfers of one part to the next
stage take::

    prefill  (m + p - 1) t + (p - 1) c      parts come one after the other, then the pipeline runs empty
    decode   max(m t, p t + (p - 1) c)      a part's next step begins when its token is out

and never less than the network needs for all transfers. Prefill's parts are equal, t is the whole iteration's time over
``m p``: that a smaller part multiplies less efficiently is left out. Decode's parts are the batch dealt out, each timed by
itself. An iteration ends before the next one begins (inferred: engines that let iterations follow each other have fewer
bubbles).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.exchanges import NO_PARTS
from zcube.llm.stages import stage_bytes, stage_pairs
from zcube.serving.clock import seconds_between
from zcube.serving.pools import Nodes
from zcube.serving.recording import Recorder
from zcube.serving.transfers import Transfers


class Pipeline:
    """The stages of one node; takes the place of an exchange of experts in its iterations or steps.

    Parameters
    ----------
    env, transfers, recorder
        Clock, network, and who is told.
    first : int
        First GPU of the node.
    pool : Nodes
        Says how many stages and parts there are.
    hidden : int
        Values of a token's hidden state.
    burst_steps : int
        Decode steps whose transfers are sent together.
    whole_bursts : bool
        Whether a burst of steps goes on where requests end within it.
    """

    def __init__(
        self, env: simpy.Environment, transfers: Transfers, recorder: Recorder, first: int, pool: Nodes, hidden: int,
        burst_steps: int = 1, whole_bursts: bool = False,
    ):  # fmt: skip
        self._env, self._transfers, self._recorder, self._firsts = env, transfers, recorder, [first]
        self._stages, self._parts, self._gpus, self._hidden = pool.pipeline_stages, pool.parts, pool.stage_gpus, hidden
        self.burst_steps, self.whole_bursts = burst_steps, whole_bursts
        source, target = stage_pairs(self._stages, self._gpus)
        self._source, self._target = source + first, target + first
        #: Whether its stages reach each other.
        self.carried = transfers.carries(self._source, self._target)
        self._paths = transfers.paths(self._source, self._target) if self.carried else self._source

    def iteration(self, node_tokens: tuple[int, ...], compute_s: float, layer: object) -> simpy.events.ProcessGenerator:
        """Let an iteration of prefill pass: so many tokens, and what one stage with all layers would take for them.

        What a single ``layer`` takes is of no account here.
        """
        stages, parts = self._stages, self._parts
        each_s = compute_s / (stages * parts)
        busy_s = (parts + stages - 1) * each_s
        yield from self._pass(sum(node_tokens), busy_s, lambda sent_s: (stages - 1) * sent_s / parts)

    def microbatches(self, requests: int) -> list[IntArray]:
        """Return the parts of a decode batch, those of them that have requests."""
        everyone = np.arange(requests)
        return [everyone[part :: self._parts] for part in range(min(self._parts, requests))]

    def steps(self, requests: int, steps: int, compute_s: float, beside: object) -> simpy.events.ProcessGenerator:
        """Let steps of a batch pass, whose parts one stage with all layers would take so long for together.

        There are no exchanges of experts that anything could run ``beside``.
        """
        stages, parts = self._stages, min(self._parts, requests)
        each_s = compute_s / (stages * parts)
        full_s, through_s = parts * each_s, stages * each_s

        def beyond(sent_s: float) -> float:
            return max(0.0, through_s + (stages - 1) * sent_s / parts - max(full_s, through_s))

        yield from self._pass(requests * steps, max(full_s, through_s), beyond)

    def _pass(self, tokens: int, busy_s: float, beyond: Callable[[float], float]) -> simpy.events.ProcessGenerator:
        """Send what tokens leave between all stages; then what is busy, or what transfers take if that is longer, has passed.

        ``beyond`` says what comes on top when all transfers took so long.
        """
        env, recorder, start_s = self._env, self._recorder, self._env.now
        sizes = np.full(len(self._paths), stage_bytes(self._hidden, tokens, self._gpus))
        recorder.exchanges(self._firsts, self._source, self._target, sizes, NO_PARTS)
        recorder.computes(self._firsts, busy_s)
        recorder.meets(self._firsts)
        yield self._transfers.send(self._paths, sizes)
        sent_s = env.now - start_s
        end_s = start_s + max(sent_s, busy_s + beyond(sent_s))
        yield env.timeout(seconds_between(env.now, end_s))
