"""A device that nobody measured: a measured one's figures, scaled by the ratio of the two data sheets.

Fields of :mod:`zcube.llm.devices` declare by what they are scaled (:class:`By`):

* rates of multiplication by the ratio of the eight-bit peaks; of attention's, by that of bf16
* rates of memory by the ratio of memory's, of collectives and exchanges by that of the scale-up link
* time a token attended to by the worse of memory's and bf16's ratio, other time a token by memory's
* fixed times, launch floors, shares of line rates and balances of experts stay

What this is worth was found where it can be checked: the same rule from H200 to B200 and back, against the tables of the
other; ``tests/analytic/test_devices.py`` repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from pydantic import BaseModel

#: Tables of a device file that are scaled, and those whose rates are of links among GPUs.
_SCALED = ("prefill", "decode", "experts", "memory", "links", "exchanges")
_OF_LINKS = ("links", "exchanges")
#: Relative error of scaled figures, median and 90th percentile, by what an operation's name begins with: the worse way of
#: H200 to B200 and B200 to H200, rounded up.
SCALED_ERROR = {"prefill_attention": (0.62, 1.04), "decode_attention": (0.27, 0.89), "moe": (0.25, 0.47)}
#: What the source of a scaled figure begins with.
SCALED = "scaled by data sheets"
#: What is said of such an error.
UNMEASURED = "unmeasured: figures of {device} scaled by data sheets; the error is that of H200 scaled to B200 and back"


class By(Enum):
    """By what a field of a device is scaled; as metadata of its type. A field without stays as it is."""

    #: A rate of multiplication in eight bits, or in bf16.
    EIGHT_BIT, BF16 = "eight-bit", "bf16"
    #: A rate of memory; within exchanges and collectives one of links.
    BYTES = "bytes"
    #: A time for each token that is read, or read and multiplied with.
    READ_TIME, ATTENDED_TIME = "read time", "attended time"
    #: A text on where a figure is from.
    TOLD = "told"


class Ratios(NamedTuple):
    """A device's peaks over those of the measured one."""

    fp8: float
    bf16: float
    memory: float
    link: float

    def scaled(self, value: Any, by: By, of_links: bool) -> Any:
        """Return a field's value on the other device."""
        if by is By.TOLD:
            return f"{SCALED}: {value}"
        if by in (By.READ_TIME, By.ATTENDED_TIME):
            return value / (self.memory if by is By.READ_TIME else min(self.memory, self.bf16))
        rates = {By.EIGHT_BIT: self.fp8, By.BF16: self.bf16, By.BYTES: self.link if of_links else self.memory}
        return value * rates[by]


def completed(declared: Mapping[str, Any], base: Any, ratios: Ratios) -> dict[str, Any]:
    """Return what a device file declares, with a measured device's figures for what it does not.

    Parameters
    ----------
    declared : mapping
        Tables of the file; one that is declared in part is completed.
    base : Device
        The measured device.
    ratios : Ratios
        Of the two.
    """
    found: dict[str, Any] = {"padded_heads": base.padded_heads, **declared}
    for table in _SCALED:
        scaled = _scaled(getattr(base, table), ratios, table in _OF_LINKS)
        found[table] = _over(scaled, declared.get(table, {}))
    if "stated_error" not in declared:
        found["stated_error"] = {operation: _unmeasured(operation, base.name) for operation in base.stated_error}
    return found


def _scaled(value: Any, ratios: Ratios, of_links: bool) -> Any:
    if isinstance(value, Mapping):
        return {name: _scaled(inner, ratios, of_links) for name, inner in value.items()}
    if not isinstance(value, BaseModel):
        return value
    found = {}
    for name, field in type(value).model_fields.items():
        inner, by = getattr(value, name), next((one for one in field.metadata if isinstance(one, By)), None)
        found[name] = _scaled(inner, ratios, of_links) if by is None else ratios.scaled(inner, by, of_links)
    return found


def _over(below: Any, above: Any) -> Any:
    """Return one value over another, tables key by key."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _unmeasured(operation: str, device: str) -> dict[str, Any]:
    median, p90 = next(error for name, error in SCALED_ERROR.items() if operation.startswith(name))
    return {"median": median, "p90": p90, "mape": median, "points": 0, "against": UNMEASURED.format(device=device)}
