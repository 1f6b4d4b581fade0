"""Which compute-time model a run uses, and how it is named in what the run prints and stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel, roofline
from zcube.llm.devices import Device
from zcube.llm.kv import KvDtype
from zcube.llm.node_links import DecodeLayout, PrefillLayout
from zcube.llm.tables.model import MeasuredModel, measured

ComputeKind: TypeAlias = Literal["auto", "roofline", "measured"]


def compute_model(
    kind: ComputeKind,
    card: ModelCard,
    device: Device,
    *,
    prefill_layout: PrefillLayout,
    decode_layout: DecodeLayout,
    prefill_ep_nodes: int = 1,
    kv_dtype: KvDtype = "fp8",
    moe_balance: str = "power_law_1.2",
    tables: Path | None = None,
) -> ComputeModel:
    """Build the compute model a run asks for.

    Parameters
    ----------
    kind : {"auto", "roofline", "measured"}
        ``auto`` is the roofline unless ``tables`` names a folder: what a run gives must not depend on which packages happen
        to be installed. ``measured`` takes the folder, else the package ``aiconfigurator-core`` (extra ``measured``).
    card, device, prefill_layout, decode_layout, prefill_ep_nodes, kv_dtype, moe_balance
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
        return measured(
            card,
            device,
            tables,
            prefill_layout=prefill_layout,
            decode_layout=decode_layout,
            prefill_ep_nodes=prefill_ep_nodes,
            kv_dtype=kv_dtype,
            moe_balance=moe_balance,
        )
    return roofline(
        card,
        device,
        prefill_layout=prefill_layout,
        decode_layout=decode_layout,
        prefill_ep_nodes=prefill_ep_nodes,
        kv_dtype=kv_dtype,
        moe_balance=moe_balance,
    )


def described(model: ComputeModel) -> dict[str, Any]:
    """Return what a run prints and stores of its compute model, JSON values only.

    Returns
    -------
    dict
        ``kind`` (``roofline`` or ``measured``) and ``model`` (its name); of a measured one also ``tables`` (source and
        versions) and ``range`` (what they cover, by operation).
    """
    if isinstance(model, MeasuredModel):
        return {"kind": "measured", "model": model.name, "tables": dict(model.tables), "range": dict(model.range)}
    return {"kind": "roofline", "model": model.name}
