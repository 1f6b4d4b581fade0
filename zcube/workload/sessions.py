"""How coding-agent sessions grow turn by turn, all sessions of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.seeds import stream
from zcube.workload.agent_parameters import CodingAgent

#: Draws above a cap are repeated so often and then set to the cap, as in aiperf.
REDRAWS = 100


class _Table:
    """Arrays of equal length, one row per thing."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the rows of several tables one after the other."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def take(self, rows: IntArray) -> Self:
        """Return the given rows, in their order."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return type(self)(**{name: getattr(self, name)[rows] for name in names})


@dataclass(frozen=True, eq=False)
class Lives(_Table):
    """Sessions, first ones and restarted ones.

    Attributes
    ----------
    start_s : array of float [S]
        Arrival of the first turn.
    group : array of int [S]
        Group whose prefix the session holds.
    initial_tokens : array of int [S]
        Shared, group's and session's own prefix; a restarted session has that of the one it restarts.
    root : array of int [S]
        Number of the session restarted, else the own number.
    restart_turn : array of int [S]
        Turns after which the session restarts if it lives so long, -1 for never.
    """

    start_s: FloatArray
    group: IntArray
    initial_tokens: IntArray
    root: IntArray
    restart_turn: IntArray


@dataclass(frozen=True, eq=False)
class Turns(_Table):
    """Requests, one per turn of a session.

    Attributes
    ----------
    life : array of int [N]
        Number of the session.
    arrival_s : array of float [N]
        Arrival time.
    prompt_tokens, output_tokens : array of int [N]
        Whole prompt and generated tokens.
    """

    life: IntArray
    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray


@dataclass(frozen=True, eq=False)
class Splits:
    """Sessions that reached their restart.

    Attributes
    ----------
    life : array of int [R]
        Number of the session.
    done_s : array of float [R]
        When its last response is done.
    context_tokens : array of int [R]
        Its last prompt and response.
    """

    life: IntArray
    done_s: FloatArray
    context_tokens: IntArray


class Draws:
    """The generator's random streams, by purpose."""

    def __init__(self, seed: int):
        self._seed = seed
        self._streams: dict[str, np.random.Generator] = {}

    def __getitem__(self, purpose: str) -> np.random.Generator:
        if purpose not in self._streams:
            self._streams[purpose] = stream(self._seed, f"coding-agent.{purpose}")
        return self._streams[purpose]


def lognormal_tokens(rng: np.random.Generator, count: int, mu: float, sigma: float, cap: int) -> IntArray:
    """Draw whole, positive numbers of tokens from a lognormal truncated at ``cap``.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream.
    count : int
        How many.
    mu, sigma : float
        Mean and deviation of the natural logarithm of the tokens.
    cap : int
        The largest value.
    """
    tokens = rng.lognormal(mu, sigma, count)
    for _ in range(REDRAWS):
        (above,) = (tokens > cap).nonzero()
        if above.size == 0:
            break
        tokens[above] = rng.lognormal(mu, sigma, above.size)
    np.maximum(tokens, 1, out=tokens)
    np.minimum(tokens, cap, out=tokens)
    return tokens.astype(np.int64)


def grow(agent: CodingAgent, lives: Lives, first_prompt: IntArray, first_life: int, draws: Draws) -> tuple[Turns, Splits]:
    """Let every session run to its end.

    Each turn's prompt is the previous prompt and response and the turn's new tokens. Before a later turn a session
    restarts where its time has come; otherwise it ends where the prompt would reach the context cap, or by chance.

    Parameters
    ----------
    agent : CodingAgent
        The parameters.
    lives : Lives
        The sessions [S].
    first_prompt : array of int [S]
        Prompt of the first turn.
    first_life : int
        Number of the first session; the others follow.
    draws : Draws
        The random streams.

    Returns
    -------
    Turns
        All turns, those of equal rank together.
    Splits
        The sessions that stopped to restart.
    """
    live = np.arange(first_prompt.size)
    prompt, arrival_s = first_prompt, lives.start_s
    turns: list[tuple[IntArray, FloatArray, IntArray, IntArray]] = []
    splits: list[tuple[IntArray, FloatArray, IntArray]] = [(live[:0], arrival_s[:0], prompt[:0])]
    for turn in range(1, agent.turns_cap + 1):
        output = _output_tokens(agent, live.size, draws)
        turns.append((live, arrival_s, prompt, output))
        done_s = arrival_s + agent.nominal_ttft_s + agent.nominal_tpot_s * (output - 1)
        context = prompt + output
        restarts = lives.restart_turn[live] == turn
        if restarts.any():
            splits.append((live[restarts], done_s[restarts], context[restarts]))
            stays = ~restarts
            live, done_s, context, prompt = live[stays], done_s[stays], context[stays], prompt[stays]
        # Every session that does not restart draws its next turn, whether or not it comes to it.
        delay_s = _delay_s(agent, prompt, draws)
        prompt = context + lognormal_tokens(
            draws["new-tokens"], live.size, agent.new_tokens_mu, agent.new_tokens_sigma, agent.new_tokens_cap
        )
        goes_on = ~_ends(agent, prompt, draws)
        prompt, arrival_s, live = prompt[goes_on], (done_s + delay_s)[goes_on], live[goes_on]
        if live.size == 0:
            break
    life, *columns = (np.concatenate(column) for column in zip(*turns, strict=True))
    split, *split_columns = (np.concatenate(column) for column in zip(*splits, strict=True))
    return Turns(first_life + life, *columns), Splits(first_life + split, *split_columns)


def _output_tokens(agent: CodingAgent, count: int, draws: Draws) -> IntArray:
    tokens = lognormal_tokens(
        draws["outputs"], count, agent.output_tokens_mu, agent.output_tokens_sigma, agent.output_tokens_cap
    )
    return np.maximum(tokens, agent.output_tokens_floor)


def _delay_s(agent: CodingAgent, prompt: IntArray, draws: Draws) -> FloatArray:
    rng = draws["delays"]
    is_agentic = rng.random(prompt.size) < agent.agentic_fraction
    mu = np.where(is_agentic, agent.agentic_delay_mu, agent.human_delay_mu)
    sigma = np.where(is_agentic, agent.agentic_delay_sigma, agent.human_delay_sigma)
    delay_ms = np.exp(mu + sigma * rng.standard_normal(prompt.size))
    shrink = 1 - agent.delay_context_shrink * prompt / agent.context_cap_tokens
    return np.asarray(delay_ms * shrink / 1000, dtype=np.float64)


def _ends(agent: CodingAgent, prompt: IntArray, draws: Draws) -> np.ndarray:
    scale = 1 + (agent.end_context_scaling - 1) * prompt / agent.context_cap_tokens
    by_chance = draws["ends"].random(prompt.size) < agent.end_probability * scale
    return by_chance | (prompt >= agent.context_cap_tokens)
