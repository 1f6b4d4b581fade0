"""Generating the requests of coding agents: long prompts that grow turn by turn and share prefixes.

The session model and its figures are those of the agentic-code dataset generator of NVIDIA aiperf. What that
generator leaves to the load driver, when sessions start and how long a response takes, is marked as an assumption in
:class:`CodingAgent`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.workload.agent_parameters import CodingAgent
from zcube.workload.appearance import numbered
from zcube.workload.prefix_blocks import Lineage, prefix_blocks
from zcube.workload.requests import MAX_BLOCKS, MAX_REQUESTS, RequestTrace
from zcube.workload.sessions import Draws, Lives, Turns, grow, lognormal_tokens

__all__ = ["CodingAgent", "generate_requests"]

#: Sessions are generated so many at a time; the draws within a batch depend on this number.
BATCH_SESSIONS = 512

#: Sessions that may start in the warm-up of one stream, or as many as there are requests if that is more; a busier stream is
#: folded from a slower one. With the default warm-up it is reached at 10 starts, some 130 requests a second.
MAX_WARM_UP_SESSIONS = 36_000


def generate_requests(agent: CodingAgent, requests: int, seed: int) -> RequestTrace:
    """Generate the requests of a stationary stream of coding-agent sessions.

    Sessions start as a Poisson process from ``warm_up_s`` before the trace on. A session's next turn arrives when its
    response would be done under the nominal service time, after the drawn delay. The trace is the first ``requests``
    arrivals from time 0 on, rebased so that the first one is at 0; sessions already under way enter it in mid-life,
    and those still under way at its end are cut. The same seed with more requests gives a trace that begins with the
    shorter one, unless the stream is folded.

    A stream with more than :data:`MAX_WARM_UP_SESSIONS` sessions in its warm-up, or more than requests, is folded: the
    requests of a stream that is ``k`` times as slow are cut into ``k`` windows of equal length, and these are laid over each
    other. As sessions start independently, ``k`` independent slow streams laid over each other are exactly the busy one. The
    windows of one stream differ from that in one thing: what a session asks in several of them is alike in length. There it
    counts as that of different sessions, with prefixes of their own behind the group's. The cost does not depend on the rate.
    The warm-up is taken to be long enough for the stream to be stationary.

    Each prompt holds the shared, the group's and the session's prefix and all turns so far. Only whole blocks are
    shared: a block that straddles the end of the shared prefix belongs to the group's, and a prompt's last, partial
    block to this prompt alone.

    Parameters
    ----------
    agent : CodingAgent
        The parameters.
    requests : int
        How many requests, 1 to 10 million, as far as their prefix blocks stay below 100 million.
    seed : int
        The run's seed. The random streams are named ``coding-agent.*``.

    Returns
    -------
    RequestTrace
        Sessions are numbered from 0 in order of first appearance.

    Raises
    ------
    InputError
        If the trace would be too large.
    """
    fixed_tokens = agent.shared_prefix_tokens + agent.group_prefix_tokens
    most = min(MAX_REQUESTS, MAX_BLOCKS // max(1, fixed_tokens // agent.block_tokens))
    if not 1 <= requests <= most:
        raise InputError(Fault("requests", str(requests), f"1 to {most} requests"))
    lives, turns, copy, copies = _stream(agent, requests, seed)
    blocks = int((-(-turns.prompt_tokens // agent.block_tokens)).sum())
    if blocks > MAX_BLOCKS:
        raise InputError(Fault("requests", f"{requests} with {blocks} prefix blocks", f"at most {MAX_BLOCKS} blocks"))
    first_block, blocks_in_runs = prefix_blocks(
        turns.prompt_tokens, _lineage(agent, lives, turns.life, copy), agent.block_tokens, agent.groups
    )
    # Numbers in order of first appearance do not depend on the discarded warm-up.
    session, _ = numbered(turns.life * copies + copy)
    return RequestTrace(
        name="coding-agent",
        source="Generated coding-agent sessions with the parameters of NVIDIA aiperf's agentic-code generator.",
        arrival_s=turns.arrival_s - turns.arrival_s[0],
        input_tokens=turns.prompt_tokens,
        output_tokens=turns.output_tokens,
        block_tokens=agent.block_tokens,
        first_block=first_block,
        block_id=blocks_in_runs,
        session=session,
    )


@lru_cache(maxsize=128)
def span_s(agent: CodingAgent, requests: int, seed: int) -> float:
    """Return the time from the first to the last arrival of what :func:`generate_requests` returns."""
    _, turns, _, _ = _stream(agent, requests, seed)
    return float(turns.arrival_s[-1] - turns.arrival_s[0])


def _stream(agent: CodingAgent, requests: int, seed: int) -> tuple[Lives, Turns, IntArray, int]:
    """Return sessions, the requests in order of arrival, the window each was in, and how many windows there are."""
    copies = _copies(agent, requests)
    slower = agent.model_copy(update={"session_starts_per_s": agent.session_starts_per_s / copies})
    lives, turns = _enough(slower, requests, Draws(seed))
    turns, copy = _folded(turns.take(np.argsort(turns.arrival_s, kind="stable")[:requests]), copies)
    return lives, turns, copy, copies


def _copies(agent: CodingAgent, requests: int) -> int:
    """Return how many windows of a slower stream are laid over each other."""
    return max(1, math.ceil(agent.session_starts_per_s * agent.warm_up_s / max(MAX_WARM_UP_SESSIONS, requests)))


def _folded(turns: Turns, copies: int) -> tuple[Turns, IntArray]:
    """Lay equal windows of time, from 0 to the last arrival, over each other; return also the window each turn was in."""
    window_s = turns.arrival_s[-1] / copies
    copy = np.minimum((turns.arrival_s // window_s).astype(np.int64), copies - 1) if copies > 1 else np.zeros_like(turns.life)
    folded = replace(turns, arrival_s=turns.arrival_s - copy * window_s)
    order = np.argsort(folded.arrival_s, kind="stable")
    return folded.take(order), copy[order]


def _lineage(agent: CodingAgent, lives: Lives, life: IntArray, copy: IntArray) -> Lineage:
    root = lives.root[life]
    restarted_afresh = (root != life) & (agent.restart_context == "initial")
    # In another window a session is another one.
    history = np.concatenate([root, np.where(restarted_afresh, life, root)]) + len(lives.root) * np.tile(copy, 2)
    trunk, branch = np.split(numbered(history)[0], 2)
    return Lineage(
        shared_tokens=agent.shared_prefix_tokens,
        group_tokens=agent.group_prefix_tokens,
        group=lives.group[life],
        trunk=trunk,
        branch=branch,
        trunk_tokens=lives.initial_tokens[life],
    )


def _enough(agent: CodingAgent, requests: int, draws: Draws) -> tuple[Lives, Turns]:
    """Generate batches of sessions until the first ``requests`` arrivals from time 0 on are certain."""
    lives: list[Lives] = []
    turns: list[Turns] = []
    last_start_s, first_life, arrived, certain = -agent.warm_up_s, 0, 0, 0
    while certain < requests:
        batch_lives, batch_turns = _batch(agent, last_start_s, first_life, draws)
        last_start_s = float(batch_lives.start_s[BATCH_SESSIONS - 1])
        first_life += batch_lives.start_s.size
        lives.append(batch_lives)
        turns.append(batch_turns.take(np.flatnonzero(batch_turns.arrival_s >= 0)))
        arrived += turns[-1].life.size
        # No session of a later batch asks anything before the last start of this one.
        if arrived >= requests:
            certain = sum(int((part.arrival_s < last_start_s).sum()) for part in turns)
    return Lives.join(lives), Turns.join(turns)


def _batch(agent: CodingAgent, after_s: float, first_life: int, draws: Draws) -> tuple[Lives, Turns]:
    """Generate the next sessions and their restarts, numbered from ``first_life`` on."""
    primary = _new_sessions(agent, after_s, first_life, draws)
    primary_turns, split = grow(agent, primary, primary.initial_tokens, first_life, draws)
    parent = split.life - first_life
    gap_s = draws["restarts"].exponential(1.0, parent.size) * agent.restart_gap_mean_s
    restarted = Lives(
        start_s=split.done_s + gap_s,
        group=primary.group[parent],
        initial_tokens=primary.initial_tokens[parent],
        root=split.life,
        restart_turn=np.full(parent.size, -1),
    )
    carried = np.minimum(split.context_tokens, agent.context_cap_tokens - 1)
    first_prompt = carried if agent.restart_context == "carried" else restarted.initial_tokens
    restarted_turns, _ = grow(agent, restarted, first_prompt, first_life + BATCH_SESSIONS, draws)
    return Lives.join([primary, restarted]), Turns.join([primary_turns, restarted_turns])


def _new_sessions(agent: CodingAgent, after_s: float, first_life: int, draws: Draws) -> Lives:
    count = BATCH_SESSIONS
    weight = np.arange(1, agent.groups + 1, dtype=np.float64) ** -agent.group_zipf_exponent
    own_tokens = lognormal_tokens(
        draws["session-prefix"],
        count,
        agent.session_prefix_mu,
        agent.session_prefix_sigma,
        agent.session_prefix_cap,
    )
    initial_tokens = agent.shared_prefix_tokens + agent.group_prefix_tokens + own_tokens
    will_restart = draws["restarts"].random(count) < agent.restart_fraction
    restart_turn = draws["restarts"].integers(agent.restart_turns_min, agent.restart_turns_below, count)
    return Lives(
        start_s=after_s + np.cumsum(draws["starts"].exponential(1 / agent.session_starts_per_s, count)),
        group=draws["groups"].choice(agent.groups, count, p=weight / weight.sum()),
        initial_tokens=np.minimum(initial_tokens, agent.context_cap_tokens - 1),
        root=np.arange(first_life, first_life + count),
        restart_turn=np.where(will_restart, restart_turn, -1),
    )
