"""The declared sweep: which scenarios, fabrics and seeds, what is changed in them, and which points there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from zcube.inputs import Declared, key_parts, read_toml, resolve_declared, validate

#: Points of a sweep, and runs: a point under a scenario on a fabric under a seed.
MOST_POINTS, MOST_RUNS = 10_000, 20_000
MOST_KEYS, MOST_VALUES, MOST_PLOTS = 32, 1000, 16
#: What a sweep says for itself, and what only ``zcube compare`` looks at.
OWN_KEYS = ("fabrics", "baseline", "seed", "seeds", "sensitivity", "description")

#: How points are declared, one of them in a sweep.
WAYS = ("grid", "points", "latin_hypercube")
_RANGE_KEYS = frozenset({"low", "high", "values"})


def _by_key(table: Any, is_value: Any = None) -> Any:
    """Return a table's values by keys with dots, each in one spelling however it is nested and quoted."""
    if not isinstance(table, Mapping):
        return table
    found: dict[str, Any] = {}
    written: dict[str, str] = {}
    for spelled, parts, value in _leaves(table, is_value, "", ()):
        # A name with dots of its own, as of a fabric's file, is one part of a key.
        key = ".".join(f'"{part}"' if "." in part or "=" in part else part for part in parts)
        if key in found:
            raise ValueError(f"each key once, not as {written[key]} and as {spelled}")
        found[key], written[key] = value, spelled
    return found


def _leaves(
    table: Mapping[str, Any], is_value: Any, before: str, parts: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield the keys of a nested table as they are written, their parts, and their values."""
    for key, value in table.items():
        # Only at the head of a table dots part a key: below, what stands before them is known to be a table.
        inner = (*parts, key) if parts else tuple(key_parts(key))
        if isinstance(value, Mapping) and value and not (is_value and is_value(value)):
            yield from _leaves(value, is_value, f"{before}{key}.", inner)
        else:
            yield before + key, inner, value


def _is_range(table: Mapping[str, Any]) -> bool:
    return bool(_RANGE_KEYS & table.keys())


def _list_fault(key: str, values: Any) -> str | None:
    """Return what is expected of a grid's values of a key, None where they are so."""
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_VALUES:
        return f"for {key} a list of 1 to {MOST_VALUES} values"
    return f"for {key} each value once" if any(value in values[:place] for place, value in enumerate(values)) else None


Key = Annotated[str, Field(min_length=1, max_length=500)]
Overrides = Annotated[dict[Key, Any], BeforeValidator(_by_key), Field(max_length=MOST_KEYS)]


class Range(Declared):
    """What a Latin hypercube draws a key from: evenly between two ends, or evenly among values."""

    low: float | None = Field(default=None, description="the lower end")
    high: float | None = Field(default=None, description="the upper end")
    scale: Literal["linear", "log"] = Field(default="linear", description="in what parts of it are equal: values or logarithms")
    whole: bool = Field(default=False, description="whole numbers, both ends among them")
    values: tuple[Any, ...] | None = Field(default=None, min_length=1, max_length=MOST_VALUES, description="instead of ends")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ends = [end for end in (self.low, self.high) if end is not None]
        if self.values is not None:
            if ends or self.scale != "linear" or self.whole:
                raise ValueError("values alone, or low and high")
        elif len(ends) < 2 or ends[0] >= ends[1]:
            raise ValueError("low below high, or values")
        elif self.scale == "log" and ends[0] <= 0:
            raise ValueError("low above 0 on a logarithmic scale")
        elif self.whole and any(end != round(end) for end in ends):
            raise ValueError("whole ends of whole numbers")
        return self


class LatinHypercube(Declared):
    """Points such that of every key's range each of as many equal parts holds one (``scipy.stats.qmc.LatinHypercube``)."""

    points: int = Field(ge=1, le=MOST_POINTS, description="how many")
    seed: int = Field(default=0, ge=0, lt=1 << 62, description="of the draw; runs have seeds of their own")
    ranges: Annotated[
        dict[Key, Range],
        BeforeValidator(lambda table: _by_key(table, _is_range)),
        Field(min_length=1, max_length=MOST_KEYS, description="range by scenario key"),
    ]


class Plot(Declared):
    """Two columns of the table against each other."""

    x: str = Field(min_length=1, max_length=500, description="column to the right")
    y: str = Field(min_length=1, max_length=500, description="column upwards")


class SweepSettings(Declared):
    """A sweep. Of ``grid``, ``points`` and ``latin_hypercube`` at most one is given; without any there is one point.

    Overrides are keys of a scenario, nested or with dots. Files named in a sweep lie relative to it.
    """

    description: str = Field(default="", max_length=1000, description="what the study is for")
    scenarios: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] = Field(
        min_length=1, max_length=32, description="bundled scenarios or files"
    )
    fabrics: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] | None = Field(
        default=None, min_length=1, max_length=32, description="default: those of each scenario"
    )
    baseline: str | None = Field(default=None, max_length=4096, description="one of fabrics; default: the first")
    seed: int | None = Field(default=None, ge=0, lt=1 << 62, description="the first one; default: each scenario's")
    seeds: int | None = Field(
        default=None, ge=1, le=1000, description="runs under seed, seed + 1 and so on; default: each scenario's"
    )
    set: Overrides = Field(default={}, description="what holds for every point")
    grid: Overrides | None = Field(default=None, description="list of values by key; every combination is a point")
    points: tuple[Overrides, ...] | None = Field(
        default=None, min_length=1, max_length=MOST_POINTS, description="a table of overrides a point"
    )
    latin_hypercube: LatinHypercube | None = Field(default=None, description="points drawn from ranges")
    plots: tuple[Plot, ...] = Field(
        default=(), max_length=MOST_PLOTS, description="default: output and TTFT P99 over each key that has numbers"
    )

    @field_validator("scenarios", "fabrics")
    @classmethod
    def _each_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("names without repetition")
        return names

    @field_validator("grid")
    @classmethod
    def _lists_of_values(cls, grid: dict[str, Any] | None) -> dict[str, Any] | None:
        if wrong := [fault for key, values in (grid or {}).items() if (fault := _list_fault(key, values)) is not None]:
            raise ValueError("; ".join(wrong))
        if grid is not None and prod(map(len, grid.values())) > MOST_POINTS:
            raise ValueError(f"at most {MOST_POINTS:,} combinations, not {prod(map(len, grid.values())):,}")
        return grid

    @model_validator(mode="after")
    def _one_set_of_points(self) -> Self:
        ways = [name for name in WAYS if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(f"one of {', '.join(ways)}")
        if self.baseline is not None and self.fabrics is not None and self.baseline not in self.fabrics:
            raise ValueError("a baseline among fabrics: " + ", ".join(self.fabrics))
        own = sorted({key for key in self.keys if key.split(".")[0].strip("\"' ") in OWN_KEYS})
        if own:
            raise ValueError(f"overrides other than {', '.join(own)}, which stand at the head of a sweep or not in one")
        inside = [f"{key} in {other}" for key in self.keys for other in self.keys if key.startswith(f"{other}.")]
        if inside:
            raise ValueError(f"keys that do not lie in each other, not {', '.join(inside)}")
        both = sorted(set(self.set) & {key for point in (self.grid or {}, *(self.points or ())) for key in point})
        if both:
            raise ValueError(f"each key in one place, not {', '.join(both)} in set and in the points")
        return self

    @property
    def keys(self) -> list[str]:
        """Every key that is overridden, those of ``set`` first, in the order of the declaration."""
        tables: list[Mapping[str, Any]] = [self.set, *self.varied]
        return list(dict.fromkeys(key for table in tables for key in table))

    @property
    def varied(self) -> Sequence[Mapping[str, Any]]:
        """Tables whose keys points differ in."""
        ranges = {} if self.latin_hypercube is None else self.latin_hypercube.ranges
        return [self.grid or {}, *(self.points or ()), ranges]

    @property
    def count(self) -> int:
        """How many points there are."""
        if self.grid is not None:
            return prod(map(len, self.grid.values()))
        if self.points is not None:
            return len(self.points)
        return 1 if self.latin_hypercube is None else self.latin_hypercube.points


def sweep_path(reference: str) -> Path:
    """Return the file of a sweep, a bundled stem or a path."""
    return resolve_declared(reference, "sweeps")


def sound_parts(data: Mapping[str, Any]) -> Iterator[SweepSettings]:
    """Yield what can be read of a faulty sweep's file: each of its sets of points by itself, without the keys at fault."""
    ways = [name for name in WAYS if name in data]
    for way in ways or [""]:
        part = {key: value for key, value in data.items() if key not in ways or key == way}
        if isinstance(part.get("grid"), Mapping):
            with suppress(ValueError):
                lists = _by_key(part["grid"])
                part["grid"] = {key: values for key, values in lists.items() if _list_fault(key, values) is None}
        try:
            SweepSettings.model_validate(part)
        except ValidationError as error:
            wrong = {detail["loc"][0] for detail in error.errors(include_url=False) if detail["loc"]}
            part = {key: value for key, value in part.items() if key not in wrong}
        with suppress(ValidationError):
            yield SweepSettings.model_validate(part)


def load_sweep(reference: str) -> tuple[SweepSettings, Path]:
    """Read a sweep by bundled stem or path; return it and its path.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    path = sweep_path(reference)
    return validate(SweepSettings, read_toml(path), str(path)), path
