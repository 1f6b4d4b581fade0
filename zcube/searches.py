"""What else is asked of a comparison: searches over other loads, and variations; checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from pydantic import Field

from zcube.capacity import CapacitySearch, check_capacity, find_capacity
from zcube.comparison import Comparison, RunEnded, compare
from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import Declared, resolve_declared, validate
from zcube.knee import KneeSearch, check_knee, find_knees
from zcube.microscope.look import Microscope
from zcube.other_loads import OtherLoads
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, read_run
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide
from zcube.variations import Variation, Varied, alternatives, swept

#: Whether something is searched for, or by which keys.
Wanted: TypeAlias = "bool | Mapping[str, Any]"


class Asked(Declared):
    """What a command asked for beside the runs of its scenario, as ``run.json`` holds it under ``asked``."""

    find_knee: KneeSearch | None = None
    find_capacity: CapacitySearch | None = None
    sweep: str | None = Field(default=None, max_length=1 << 16, description="`KEY=VALUE,VALUE,...`")
    sensitivity: bool = Field(default=False, description="whether every setting of `[sensitivity]` was tried")
    microscope: Microscope | None = None

    @classmethod
    def of_run(cls, reference: str) -> Asked:
        """Return what was asked for by the run whose record a comparison is repeated from; of a scenario nothing.

        Raises
        ------
        InputError
            With every fault of the record.
        """
        path = resolve_declared(reference, "scenarios")
        if path.suffix != ".json":
            return cls()
        found = read_run(path).get("asked", {})
        if not isinstance(found, Mapping):
            raise InputError(Fault(f"{path}: asked", repr(type(found).__name__), "a table"))
        return validate(cls, found, f"{path}: asked")


@dataclass(frozen=True, slots=True)
class Searches:
    """The searches that were asked for, the values of a sweep and the settings of ``[sensitivity]``."""

    knee: KneeSearch | None = None
    capacity: CapacitySearch | None = None
    sweep: tuple[Variation, ...] = ()
    sensitivity: tuple[Variation, ...] = ()

    @classmethod
    def of(
        cls, scenario: Scenario, knee: Wanted, capacity: Wanted, sweep: str | None = None, sensitivity: bool = False,
        place: Callable[[str, str], str] = "{}: {}".format,
    ) -> Searches:  # fmt: skip
        """Return what is asked for of a scenario.

        Parameters
        ----------
        scenario : Scenario
            What is compared.
        knee, capacity : bool or mapping
            Whether to search, or keys of :class:`~zcube.knee.KneeSearch` and :class:`~zcube.capacity.CapacitySearch`.
        sweep : str, optional
            ``KEY=VALUE,VALUE,...``, see :func:`zcube.variations.swept`.
        sensitivity : bool
            Whether to run the scenario at every setting of its ``[sensitivity]``.
        place : callable
            Where a key was written, of ``find_knee`` or ``find_capacity`` and the key.

        Raises
        ------
        InputError
            With every fault of the keys, and of the scenario where it does not fit the searches.
        """
        faults = FaultList()
        asked: list[Any] = [None, None, (), ()]
        for number, (wanted, model, name, check) in enumerate(
            ((knee, KneeSearch, "find_knee", check_knee), (capacity, CapacitySearch, "find_capacity", check_capacity))
        ):
            if wanted is False:
                continue
            with faults:
                asked[number] = validate(model, {} if wanted is True else wanted, partial(place, name))
            with faults:
                check(scenario)
        if sweep is not None:
            with faults:
                asked[2] = swept(scenario, sweep)
        if sensitivity:
            with faults:
                asked[3] = alternatives(scenario)
        faults.check()
        return cls(*asked)

    def compared(
        self, scenario: Scenario, progress: Progress = silent, record: str | None = None,
        beside: SideBySide = IN_THIS_PROCESS, ended: RunEnded = lambda name, metrics: None, load_over_time: bool = True,
    ) -> Comparison:  # fmt: skip
        """Return the scenario's comparison with what the searches came to.

        Parameters
        ----------
        scenario, progress, record, beside, ended, load_over_time
            As in :func:`zcube.comparison.compare`.

        Raises
        ------
        InputError
            With every fault of what the scenario names, before anything runs; one of them are requests that come all at once,
            and so have no rate that a search could vary.
        """
        searched = bool(self.knee or self.capacity)
        comparison = compare(
            scenario, progress, record, searched, beside, band=True, ended=ended, load_over_time=load_over_time
        )
        loads = OtherLoads(comparison, progress, beside)
        return replace(
            comparison,
            knee=None if self.knee is None else find_knees(loads, self.knee).document(),
            capacity=None if self.capacity is None else find_capacity(loads, self.capacity).document(),
            sweep=Varied(comparison, self.sweep, progress, beside).document() if self.sweep else None,
            sensitivity=Varied(comparison, self.sensitivity, progress, beside).document() if self.sensitivity else None,
        )
