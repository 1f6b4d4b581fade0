"""A device that nobody measured: a measured one's figures, scaled by the ratio of the two data sheets.

* rates of multiplication by the ratio of the eight-bit peaks; of attention's, by that of bf16
* rates of memory by the ratio of memory's, of collectives and exchanges by that of the scale-up link
* time a token attended to by the worse of memory's and bf16's ratio, other time a token by memory's
* fixed times, launch floors, shares of line rates and balances of experts stay

What this is worth was found where it can be checked: the same rule from H200 to B200 and back, against the tables of the
other; ``tests/analytic/test_devices.py`` repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

#: Tables of a device file that are scaled, and those whose rates are of links among GPUs.
_SCALED = ("prefill", "decode", "experts", "memory", "links", "exchanges")
_OF_LINKS = ("links", "exchanges")
#: Rates of attention, which multiplies in bf16.
_BF16_RATES = ("dense_tflops", "sparse_tflops")
#: Relative error of scaled figures, median and 90th percentile, by what an operation's name begins with: the worse way of
#: H200 to B200 and B200 to H200, rounded up.
SCALED_ERROR = {"prefill_attention": (0.62, 1.04), "decode_attention": (0.27, 0.89), "moe": (0.25, 0.47)}
#: What is said of such an error.
UNMEASURED = "unmeasured: figures of {device} scaled by data sheets; the error is that of H200 scaled to B200 and back"


class Ratios(NamedTuple):
    """A device's peaks over those of the measured one."""

    fp8: float
    bf16: float
    memory: float
    link: float


def completed(declared: Mapping[str, Any], base: Mapping[str, Any], ratios: Ratios) -> dict[str, Any]:
    """Return what a device file declares, with a measured device's figures for what it does not.

    Parameters
    ----------
    declared, base : mapping
        Tables of the file, and of the measured device. A table that is declared in part is completed.
    ratios : Ratios
        Of the two.
    """
    found: dict[str, Any] = {"padded_heads": base["padded_heads"], **declared}
    for table in _SCALED:
        scaled = _scaled(base[table], ratios, table in _OF_LINKS)
        found[table] = _over(scaled, declared.get(table, {}))
    if "stated_error" not in declared:
        found["stated_error"] = {operation: _unmeasured(operation, base["name"]) for operation in base["stated_error"]}
    return found


def _scaled(value: Any, ratios: Ratios, of_links: bool, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _scaled(inner, ratios, of_links, name) for name, inner in value.items()}
    if key.endswith("gbytes_per_s"):
        return value * (ratios.link if of_links else ratios.memory)
    if key.endswith("tflops"):
        return value * (ratios.bf16 if key in _BF16_RATES else ratios.fp8)
    if key.endswith("us_per_ktoken"):
        return value / (min(ratios.memory, ratios.bf16) if key == "selected_us_per_ktoken" else ratios.memory)
    return f"scaled by data sheets: {value}" if key in ("source", "kernel") else value


def _over(below: Any, above: Any) -> Any:
    """Return one value over another, tables key by key."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _unmeasured(operation: str, device: str) -> dict[str, Any]:
    median, p90 = next(error for name, error in SCALED_ERROR.items() if operation.startswith(name))
    return {"median": median, "p90": p90, "mape": median, "points": 0, "against": UNMEASURED.format(device=device)}
