"""From a name or a file to a built fabric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from zcube.errors import Fault, InputError
from zcube.fabric.failures import with_failures
from zcube.fabric.families import families
from zcube.fabric.model import Fabric
from zcube.fabric.ports import check_port_budget
from zcube.fabric.spec import MAX_CABLES
from zcube.input_files import is_file
from zcube.inputs import read_toml, resolve_declared, set_key, validate

#: Parts a topology's name from what has failed in it: ``zcube-1024@switch:A3,link:A0-B5``.
FAILURES_AFTER = "@"
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})


def load_fabric(reference: str, failures: Sequence[str] = (), changes: Mapping[str, Any] = NO_CHANGES) -> Fabric:
    """Build the fabric a topology file declares.

    Parameters
    ----------
    reference : str
        Stem of a bundled topology (``"zcube-1024"``) or path to a topology file; behind an ``@``, failures parted by commas:
        ``"zcube-1024@switch:A3,link:A0-B5"``.
    failures : sequence of str
        Further failures; see :mod:`zcube.fabric.failures`.
    changes : mapping
        Keys, with dots for tables, whose values stand in place of the file's; None takes a key out.

    Raises
    ------
    InputError
        If the file cannot be read, a key is wrong, sizes do not fit, switches run out of ports, or a failure names nothing.
    """
    whole = FAILURES_AFTER not in reference or is_file(reference)
    topology, _, behind = (reference, "", "") if whole else reference.partition(FAILURES_AFTER)
    fabric = _declared_fabric(topology, changes)
    failed = [*(part for part in behind.split(",") if part), *failures]
    if not failed:
        return fabric
    named = replace(fabric, name=f"{fabric.name}{FAILURES_AFTER}{','.join(failed)}")
    return with_failures(named, failed, reference if behind else "--fail")


def _declared_fabric(reference: str, changes: Mapping[str, Any]) -> Fabric:
    path = resolve_declared(reference, "topologies")
    source = str(path) if path.stem != reference else reference
    data = read_toml(path)
    for key, value in changes.items():
        set_key(data, key, value, source)
    family = data.get("family")
    if not isinstance(family, str) or family not in families():
        found = "nothing" if family is None else repr(family)
        raise InputError(Fault(f"{source}: family", found, "one of " + ", ".join(sorted(families()))))
    spec = validate(families()[family], data, source)
    cables = spec.cable_estimate()
    if cables > MAX_CABLES:
        raise InputError(Fault(f"{source}: gpus", f"{spec.gpus}, about {cables} cables", f"at most {MAX_CABLES} cables"))
    fabric = spec.located(path.parent).build(path.stem)
    check_port_budget(fabric, source)
    return fabric
