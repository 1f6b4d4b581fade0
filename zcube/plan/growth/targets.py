"""The fabric that stands, built for more GPUs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.catalog import FAILURES_AFTER, NO_CHANGES, load_fabric
from zcube.fabric.model import Fabric
from zcube.input_files import is_file

#: Stages of one plan.
MAX_STAGES = 16


def larger_fabrics(reference: str, gpus: Sequence[int], changes: Mapping[str, Any] = NO_CHANGES) -> list[Fabric]:
    """Build a topology for other numbers of GPUs, its other keys as they are or as changed.

    Parameters
    ----------
    reference : str
        Bundled topology or topology file.
    gpus : sequence of int
        GPUs of each stage, rising.
    changes : mapping
        Further keys by name, with dots for tables, that the larger fabrics need otherwise, e.g. ``gpus_per_switch``.

    Raises
    ------
    InputError
        With every stage that cannot be built and why, numbers that do not rise, or a reference with failures.
    """
    faults = FaultList()
    if not 0 < len(gpus) <= MAX_STAGES:
        faults.faults.append(Fault("--to-gpus", f"{len(gpus)} stages", f"1 to {MAX_STAGES}"))
    if any(after <= before for before, after in itertools.pairwise(gpus)):
        faults.faults.append(Fault("--to-gpus", ",".join(map(str, gpus)), "numbers that rise"))
    if FAILURES_AFTER in reference and not is_file(reference):
        faults.faults.append(Fault("--from", reference, "a fabric with nothing failed"))
    faults.check()
    built = []
    for count in gpus:
        with faults:
            fabric = load_fabric(reference, changes={**changes, "gpus": count})
            built.append(replace(fabric, name=f"{fabric.name}-to-{count}"))
    faults.check()
    return built


def checked_growth(start: Fabric, targets: Sequence[Fabric]) -> None:
    """Refuse growth that is none.

    Raises
    ------
    InputError
        If servers differ in size or a stage has fewer GPUs than the one before; with every such stage.
    """
    faults = []
    if not targets:
        faults.append(Fault("growth", "no target", "at least one larger fabric"))
    for before, after in zip([start, *targets], targets):
        where = f"fabric {after.name}"
        if after.gpus_per_server != before.gpus_per_server:
            faults.append(
                Fault(where, f"servers of {after.gpus_per_server} GPUs", f"of {before.gpus_per_server}, as {before.name}")
            )
        if after.gpus < before.gpus:
            faults.append(Fault(where, f"{after.gpus} GPUs", f"at least the {before.gpus} of {before.name}"))
    if faults:
        raise InputError(faults)
