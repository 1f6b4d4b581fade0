"""A comparison with something of its scenario changed: one key over several values, or one parameter after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from zcube.comparison import Comparison, compare
from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import NotTomlError, toml_document
from zcube.prepared import named_by
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, changed, with_tables
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide
from zcube.verdict.headline import OUTPUT, TTFT_P99, unmeasured
from zcube.verdict.published import is_published_pair, published_changes
from zcube.verdict.rows import Row
from zcube.verdict.table import row
from zcube.workload.offered import offered_requests

#: Values that a key is swept over at most.
MOST_VALUES = 100

TTFT_MEAN = row("Latency of completed requests", "TTFT mean", "s")

#: What is kept of a fabric, by the name it has in the document.
FIGURES: Mapping[str, Row] = {"output": OUTPUT, "ttft_mean": TTFT_MEAN, "ttft_p99": TTFT_P99}


@dataclass(frozen=True, slots=True)
class Variation:
    """A parameter at a setting: the scenario that says so, and where it was asked for."""

    parameter: str
    setting: str
    scenario: Scenario
    place: str


def swept(scenario: Scenario, assignment: str, option: str = "--sweep") -> tuple[Variation, ...]:
    """Return a scenario with a key at each of several values.

    Parameters
    ----------
    scenario : Scenario
        What is varied.
    assignment : str
        ``KEY=VALUE,VALUE,...`` with TOML values; bare words are text.
    option : str
        What it stood behind, for faults.

    Raises
    ------
    InputError
        With every value that the scenario cannot have.
    """
    key, equals, text = assignment.partition("=")
    key = key.strip()
    values = [] if {"\n", "\r"} & set(assignment) else _values(text, option)
    if not key or not equals or not values or key.split(".")[0] == "sensitivity":
        raise InputError(
            Fault(
                option, repr(assignment), "KEY=VALUE,VALUE,... on one line with a scenario key, e.g. load.concurrency=600,750"
            )
        )
    if len(values) > MOST_VALUES:
        raise InputError(Fault(f"{option} {key}", f"{len(values)} values", f"at most {MOST_VALUES}"))
    faults = FaultList()
    found: list[Variation] = []
    for value in values:
        place = f"{option} {key}={value}"
        with faults:
            of_value = changed(scenario, {key: value}, place).model_copy(update={"sensitivity": {}})
            if any(one.scenario == of_value for one in found):
                raise InputError(Fault(place, "a value that stands there before", "each once"))
            found.append(Variation(key, str(value), of_value, place))
    faults.check()
    return _built(found, scenario)


def _values(text: str, option: str) -> list[Any]:
    try:
        return list(toml_document(option, f"values = [{text}]")["values"])
    except NotTomlError:
        return [word.strip() for word in text.split(",") if word.strip()]


def alternatives(scenario: Scenario) -> tuple[Variation, ...]:
    """Return a scenario at every setting of its ``[sensitivity]``, one parameter at a time.

    Raises
    ------
    InputError
        If it names none, and with every setting that it cannot have.
    """
    if not any(scenario.sensitivity.values()):
        raise InputError(Fault("sensitivity", "no parameter", "tables of other settings, as scenario zai-2026 has them"))
    faults, found = FaultList(), []
    for parameter, settings in scenario.sensitivity.items():
        for setting, tables in settings.items():
            place = f"sensitivity.{parameter}.{setting}"
            with faults:
                found.append(Variation(parameter, setting, with_tables(scenario, tables, place), place))
    faults.check()
    return _built(found, scenario)


def _built(found: Sequence[Variation], scenario: Scenario) -> tuple[Variation, ...]:
    """Return variations, what they name tried; what the scenario lacks itself is told when it is compared.

    Raises
    ------
    InputError
        With every file that cannot be read and every fabric that does not fit.
    """
    try:
        named_by(scenario)
    except InputError:
        return tuple(found)
    faults = FaultList()
    for variation in found:
        other = variation.scenario
        lacking = FaultList()
        with lacking:
            named_by(other)
        with lacking:
            if other.requests != scenario.requests:
                offered_requests(other.requests, other.load.rate_per_s, other.load.mode == "closed", other.seed)
        faults.faults.extend(replace(fault, where=f"{variation.place}: {fault.where}") for fault in lacking.faults)
    faults.check()
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Varied:
    """A comparison beside its variations.

    Attributes
    ----------
    comparison : Comparison
        Of the scenario as it is, whose runs are not made again.
    variations : sequence of Variation
        In the order in which they are told.
    progress : Progress
        Told of every variation.
    beside : SideBySide
        Does the runs, and prepares a few variations at a time where it has processes.
    """

    comparison: Comparison
    variations: Sequence[Variation]
    progress: Progress = silent
    beside: SideBySide = IN_THIS_PROCESS
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def document(self) -> dict[str, Any]:
        """Run what is not known, and return all JSON-ready.

        Raises
        ------
        InputError
            With what a variation names that cannot be read or built.
        """
        own, baseline = _figures(self.comparison), self.comparison.scenario.baseline_label
        pairs = [is_published_pair(fabric["family"], own[baseline]["family"]) for fabric in own.values()]
        return {
            "seeds": self.comparison.scenario.seeds,
            "baseline": baseline,
            "scenario": own,
            "published": published_changes() if self.comparison.scenario.is_published and any(pairs) else None,
            "runs": [
                {**run, "moves": run["fabrics"] != own}
                for run in self.beside.each(self._run, list(self.variations), 1 + self.beside.jobs)
            ],
        }

    def _run(self, variation: Variation) -> dict[str, Any]:
        scenario = self.comparison.scenario
        same = variation.scenario == scenario.model_copy(update={"sensitivity": {}})
        with self._lock:
            self.progress(f"variations: {variation.parameter} {variation.setting}", 0, 0, "")
        comparison = self.comparison if same else compare(variation.scenario, beside=self.beside, load_over_time=False)
        return {
            "parameter": variation.parameter,
            "setting": variation.setting,
            "is_scenario": same,
            "baseline": variation.scenario.baseline_label,
            "unmeasured": unmeasured(comparison.stated_error),
            "fabrics": _figures(comparison),
        }


def _figures(comparison: Comparison) -> dict[str, Any]:
    """Return what is kept of every fabric of a comparison."""
    fabrics = comparison.document()["fabrics"]
    base = fabrics[comparison.scenario.baseline_label]
    return {name: _of_fabric(fabric, None if fabric is base else base) for name, fabric in fabrics.items()}


def _of_fabric(fabric: Mapping[str, Any], base: Mapping[str, Any] | None) -> dict[str, Any]:
    window = fabric["window"]
    return {
        "family": fabric["family"],
        "caution": window["no_rate"] or window["unsteady"],
        **{name: figure.value(fabric) for name, figure in FIGURES.items()},
        "against": None if base is None else {name: _against(figure, fabric, base) for name, figure in FIGURES.items()},
    }


def _against(figure: Row, fabric: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a change against the baseline as a fraction, its interval over the seeds, and whether that leaves out 0."""
    value, reference = figure.value(fabric), figure.value(base)
    if value is None or not reference:
        return None
    noise = figure.noise(fabric)
    ends = None if noise is None else [figure.scale * end / reference for end in noise["difference_interval"]]
    return {"change": value / reference - 1.0, "interval": ends, "differs": None if noise is None else noise["differs"]}
