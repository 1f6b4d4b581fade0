"""The parameters of the coding-agent generator."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from zcube.inputs import Declared

Tokens = Annotated[int, Field(ge=0, le=2_000_000)]
TokensCap = Annotated[int, Field(ge=1, le=2_000_000)]
Mu = Annotated[float, Field(ge=-5, le=20)]
Sigma = Annotated[float, Field(ge=0, le=5)]
Probability = Annotated[float, Field(ge=0, le=1)]


class CodingAgent(Declared):
    """Parameters of the coding-agent generator.

    A lognormal is given by the mean ``mu`` and the deviation ``sigma`` of the natural logarithm; a cap is applied by
    drawing again, as aiperf does. Unless marked *assumption*, a default is the figure of NVIDIA aiperf 0.13's data set
    ``1k_sessions_200k_ctx`` (the manifest of that name in its agentic-code generator).

    Attributes
    ----------
    session_starts_per_s : float
        Rate of the Poisson process of new sessions (restarts come on top). *Assumption.* With the other defaults a
        session makes about 12 requests and lives about 4.6 minutes, so 0.2 gives 2 to 3 requests per second and some
        60 live sessions. To set the request rate, use :meth:`RequestTrace.at_rate
        <zcube.workload.requests.RequestTrace.at_rate>`.
    warm_up_s : float
        Sessions start so long before the trace does, and what they ask before it is discarded, so that the trace
        begins with sessions in mid-life. *Assumption:* one hour, 13 mean lifetimes.
    shared_prefix_tokens : int
        Tools and system prompt, the same for all sessions: 32,000 tokens in the manifest, rounded up to whole blocks of
        512 as the generator does.
    group_prefix_tokens : int
        Repository instructions, the same for the sessions of a group: 10,000 tokens, rounded up likewise.
    groups, group_zipf_exponent : int, float
        A session belongs to group ``k`` (from 1) with probability proportional to ``k ** -group_zipf_exponent``.
    session_prefix_mu, session_prefix_sigma, session_prefix_cap : float, float, int
        Lognormal of the session's own part of the first prompt, in tokens.
    new_tokens_mu, new_tokens_sigma, new_tokens_cap : float, float, int
        Lognormal of the tokens that each later turn adds.
    output_tokens_mu, output_tokens_sigma, output_tokens_cap, output_tokens_floor : float, float, int, int
        Lognormal of the tokens generated per turn; lower draws are raised to the floor.
    agentic_fraction : float
        Share of the delays between turns that are tool calls; the rest are humans.
    agentic_delay_mu, agentic_delay_sigma, human_delay_mu, human_delay_sigma : float
        Lognormals of the delay between a response and the next turn, in **milliseconds**.
    delay_context_shrink : float
        A delay is multiplied by ``1 - delay_context_shrink * prompt / context_cap_tokens``, with the prompt before it.
    end_probability, end_context_scaling : float
        Before each later turn the session ends with probability
        ``end_probability * (1 + (end_context_scaling - 1) * prompt / context_cap_tokens)``.
    context_cap_tokens : int
        A session whose next prompt would reach this ends.
    turns_cap : int
        A session also ends after so many turns. *Assumption:* far above what the defaults reach; bounds memory.
    restart_fraction : float
        Share of sessions that draw a restart; those that end before it comes do not restart. aiperf lets the share
        fall from the manifest's 0.3 to 0 over the first three quarters of a data set, on average
        ``0.3 * 0.75 / 2``; a stationary stream has one value.
    restart_turns_min, restart_turns_below : int
        The restart comes after so many turns, uniform over ``range(restart_turns_min, restart_turns_below)``.
    restart_context : {"carried", "initial"}
        What a restarted session's first prompt holds. ``"carried"``, as in aiperf: all that was said so far, so that
        the prefix is found again. ``"initial"``: the session's initial prefix only, with a new history after it.
        A restarted session has a new number and does not restart again.
    restart_gap_mean_s : float
        Mean of the exponential time from the last response to the restart. *Assumption.*
    nominal_ttft_s, nominal_tpot_s : float
        Time to the first token and per further token with which the arrival of the next turn is reckoned, so that
        arrivals do not depend on the fabric under test. *Assumption:* 60 tokens/s, as in aiperf's own estimate of
        session durations, and half a second of prefill.
    block_tokens : int
        Tokens per prefix block.
    """

    session_starts_per_s: float = Field(default=0.2, gt=1e-6, le=50)
    warm_up_s: float = Field(default=3600.0, ge=0, le=86_400)
    shared_prefix_tokens: Tokens = 32_256
    group_prefix_tokens: Tokens = 10_240
    groups: int = Field(default=100, ge=1, le=100_000)
    group_zipf_exponent: float = Field(default=0.6, ge=0, le=10)
    session_prefix_mu: Mu = 8.51719
    session_prefix_sigma: Sigma = 1.48230
    session_prefix_cap: TokensCap = 50_000
    new_tokens_mu: Mu = 8.29405
    new_tokens_sigma: Sigma = 0.90052
    new_tokens_cap: TokensCap = 50_000
    output_tokens_mu: Mu = 6.68461
    output_tokens_sigma: Sigma = 0.66805
    output_tokens_cap: TokensCap = 10_000
    output_tokens_floor: int = Field(default=30, ge=1, le=2_000_000)
    agentic_fraction: Probability = 0.7
    agentic_delay_mu: Mu = 7.60090
    agentic_delay_sigma: Sigma = 1.35373
    human_delay_mu: Mu = 9.61581
    human_delay_sigma: Sigma = 1.17741
    delay_context_shrink: Probability = 0.8
    end_probability: Probability = 0.05
    end_context_scaling: float = Field(default=1.5, ge=0, le=20)
    context_cap_tokens: int = Field(default=200_000, ge=2, le=2_000_000)
    turns_cap: int = Field(default=1000, ge=1, le=10_000)
    restart_fraction: Probability = 0.1125
    restart_turns_min: int = Field(default=5, ge=1, le=10_000)
    restart_turns_below: int = Field(default=15, ge=2, le=10_001)
    restart_context: Literal["carried", "initial"] = "carried"
    restart_gap_mean_s: float = Field(default=300.0, ge=0, le=86_400)
    nominal_ttft_s: float = Field(default=0.5, ge=0, le=3600)
    nominal_tpot_s: float = Field(default=1 / 60, ge=0, le=60)
    block_tokens: int = Field(default=512, ge=16, le=65_536)

    @model_validator(mode="after")
    def _consistent(self) -> CodingAgent:
        if self.shared_prefix_tokens + self.group_prefix_tokens + 1 >= self.context_cap_tokens:
            raise ValueError("shared_prefix_tokens + group_prefix_tokens must leave room below context_cap_tokens")
        if self.restart_turns_below <= self.restart_turns_min:
            raise ValueError("restart_turns_below must exceed restart_turns_min")
        if self.output_tokens_floor > self.output_tokens_cap:
            raise ValueError("output_tokens_floor must not exceed output_tokens_cap")
        for part in ("session_prefix", "new_tokens", "output_tokens"):
            cap = getattr(self, f"{part}_cap")
            mu, sigma = getattr(self, f"{part}_mu"), getattr(self, f"{part}_sigma")
            # Drawing again suits only where the cap does not lie deep in the lower tail.
            if math.log(cap) < mu - sigma:
                raise ValueError(f"{part}_cap must not lie below exp({part}_mu - {part}_sigma)")
        return self
