"""Topology files of planned fabrics, for every other verb to read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zcube.fabric.spec import FabricSpec
from zcube.inputs import toml_value
from zcube.plan.candidate import Candidate


def topology_text(spec: FabricSpec, description: str = "") -> str:
    """Return the text of a topology file that declares a fabric."""
    keys = {"family": spec.family, **spec.model_dump(mode="json", exclude_defaults=True, exclude_none=True)}
    if description:
        keys["description"] = description
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in keys.items())


def write_topologies(candidates: Iterable[Candidate], folder: Path) -> dict[str, Path]:
    """Write the topology file of every candidate, named by it, and return the files by name."""
    written = {}
    for one in candidates:
        path = folder / f"{one.name}.toml"
        path.write_text(topology_text(one.spec, one.arrangement), encoding="utf-8")
        written[one.name] = path
    return written
