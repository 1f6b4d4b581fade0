"""Published decode speeds of one request on eight B200, to compare with.

TileRT 0.1.5 prints its numbers on the chart; the bars of the 0.1.3 chart were read off and are approximate. Inputs are in
units of 1,024 tokens, the output is 1K tokens; the cache grows meanwhile, so that a step is modelled at half of the output.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Tokens generated in every published point.
OUTPUT_TOKENS = 1024
#: Tokens a step yields with three drafts, printed on the chart of TileRT 0.1.5.
ACCEPTED_TOKENS = 3.2


@dataclass(frozen=True, slots=True)
class Published:
    """One bar: tokens per second of one request.

    Attributes
    ----------
    engine, source : str
        Engine, and the chart.
    input_ktokens : int
        Prompt, units of 1,024 tokens.
    drafts : int
        Drafts a step, 0 or 3.
    tokens_per_s : float
        Speed.
    """

    engine: str
    source: str
    input_ktokens: int
    drafts: int
    tokens_per_s: float

    @property
    def context_tokens(self) -> int:
        """Tokens in the cache halfway through the output."""
        return 1024 * self.input_ktokens + OUTPUT_TOKENS // 2


_CHART_015 = "chart of TileRT 0.1.5, GLM-5.1-FP8"
_CHART_013 = "chart of TileRT 0.1.3, GLM-5-FP8, bars read off"
_SPEEDS_015 = {0: {1: 301, 32: 197, 64: 184, 192: 169}, 3: {1: 618, 32: 429, 64: 406, 192: 352}}
#: Without drafts only the range of the bars is known; its ends are taken for the shortest and the longest input.
_SPEEDS_013 = {
    "SGLang 0.5.9": {
        0: {1: 52, 192: 33},
        3: {1: 134, 16: 117, 32: 89, 64: 90, 128: 66, 150: 56, 192: 63},
    },
    "vLLM 0.16": {
        0: {1: 59, 192: 44},
        3: {1: 82, 16: 77, 32: 78, 64: 71, 128: 75, 150: 64, 192: 72},
    },
}

#: What TileRT's parameters are fitted to.
TILERT_POINTS = tuple(
    Published("TileRT 0.1.5", _CHART_015, ktokens, drafts, float(speed))
    for drafts, speeds in _SPEEDS_015.items()
    for ktokens, speed in speeds.items()
)
#: What the conventional engine is compared with; nothing is fitted to it.
CONVENTIONAL_POINTS = tuple(
    Published(engine, _CHART_013, ktokens, drafts, float(speed))
    for engine, charts in _SPEEDS_013.items()
    for drafts, speeds in charts.items()
    for ktokens, speed in speeds.items()
)
