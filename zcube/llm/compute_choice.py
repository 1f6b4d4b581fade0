"""Which compute-time model a run uses, and how it is named in what the run prints and stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel, roofline
from zcube.llm.devices import Device
from zcube.llm.engine_layout import EngineLayout

ComputeKind: TypeAlias = Literal["auto", "roofline", "measured"]


def compute_model(
    kind: ComputeKind, card: ModelCard, device: Device, engine: EngineLayout, tables: Path | None = None
) -> ComputeModel:
    """Build the compute model a run asks for.

    Parameters
    ----------
    kind : {"auto", "roofline", "measured"}
        ``auto`` is the roofline unless ``tables`` names a folder: what a run gives must not depend on which packages happen
        to be installed. ``measured`` takes the folder, else the package ``aiconfigurator-core`` (extra ``measured``).
    card, device, engine
        As :func:`zcube.llm.compute.roofline`.
    tables : Path, optional
        Folder of CSV tables; none with ``roofline``.

    Raises
    ------
    InputError
        If a choice is not offered, or what it needs is missing.
    """
    if kind not in get_args(ComputeKind):
        raise InputError(Fault("compute model", repr(kind), "one of " + ", ".join(get_args(ComputeKind))))
    if kind == "roofline" and tables is not None:
        raise InputError(Fault("tables", f"{tables} beside the roofline", "no tables, or the model auto or measured"))
    if kind == "measured" or tables is not None:
        from zcube.llm.tables.model import measured

        return measured(card, device, engine, tables)
    return roofline(card, device, engine)


def described(model: ComputeModel) -> dict[str, Any]:
    """Return what a run prints and stores of its compute model, JSON values only.

    Returns
    -------
    dict
        ``kind`` (``roofline`` or ``measured``) and ``model`` (its name); of a measured one also ``tables`` (source and
        versions) and ``range`` (what they cover, by operation); of one with calibrated collectives ``calibrated`` (which, from
        what).
    """
    calibrated = [dict(one) for one in getattr(model, "calibrated", ())]
    more = {"calibrated": calibrated} if calibrated else {}
    if hasattr(model, "tables") and hasattr(model, "range"):
        return {"kind": "measured", "model": model.name, "tables": dict(model.tables), "range": dict(model.range), **more}
    return {"kind": "roofline", "model": model.name, **more}
