"""Error of the interpolation over every shape that was measured of a kind of attention, on points held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from zcube.llm.cards import NO_CHOICE, load_card
from zcube.llm.devices import Device
from zcube.llm.kinds.efficiencies import Kind, load_efficiencies, measured_as
from zcube.llm.kinds.grouped import HeadShape, kernel_prefill_s, kernel_step_s
from zcube.llm.kinds.latent import measured_prefill_s, measured_step_s
from zcube.llm.kinds.linear import StateShape, chunks_s, state_s
from zcube.llm.tables.held_out import Pairs, predicted
from zcube.llm.tables.kernels import read_blocks, read_heads, read_states
from zcube.llm.tables.kinds import LEAST_NEW_TOKENS, LEAST_POINTS, MOST_NEW_TOKENS, TABLE_OF_PHASE, Phase
from zcube.llm.tables.read import Source

#: Kinds measured by shape; sparse attention is :mod:`zcube.llm.tables.held_out`'s.
KINDS: tuple[Kind, ...] = ("latent", "grouped", "window", "linear")


def held_shapes(kind: Kind, device: Device, source: Source) -> dict[Phase, Pairs]:
    """Return predicted and measured times of points held out, both over the roofline, by phase; none without a table."""
    found: dict[Phase, Pairs] = {}
    for phase in get_args(Phase):
        parts = []
        for points, model_s in _shapes(kind, phase, device, source):
            axes = np.column_stack([points.batch, points.tokens])
            tokens = points.batch * points.tokens
            counts = (tokens >= LEAST_NEW_TOKENS) & (tokens <= MOST_NEW_TOKENS) if phase == "prefill" else tokens > 0
            parts.append((axes, points.seconds / model_s, counts))
        if parts:
            found[phase] = predicted(parts)
    return found


def _shapes(kind: Kind, phase: Phase, device: Device, source: Source) -> Iterator[tuple[Any, Any]]:
    """Yield the points of one shape after the other, with the roofline's time of each."""
    found = {"latent": _blocks, "linear": _states}.get(kind)
    if found is not None:
        yield from found(phase, device, source)
        return
    table, figures, peak = TABLE_OF_PHASE[phase], load_efficiencies(measured_as(device), kind), device.peak
    assert kind in ("grouped", "window")
    for kv in ("fp8", "bf16") if source.find(f"{table}_attention", device.name) else ():
        points = read_heads(source, table, device.name, kv)
        points = points.rows((points.window > 0) == (kind == "window"))
        for same in _same(points, "heads", "kv_heads", "head_dim", "window"):
            size, window = int(same.head_dim[0]), int(same.window[0]) or NO_CHOICE
            shape = HeadShape(same.heads[0], same.kv_heads[0], size, size, 1 if kv == "fp8" else 2)
            of_size = figures.of_heads(kind, kv, size)
            if phase == "prefill":
                yield same, kernel_prefill_s(of_size.prefill, peak, shape, same.batch, same.tokens, window)
            else:
                yield same, kernel_step_s(of_size.decode, peak, shape, same.batch, same.tokens, window)


def _blocks(phase: Phase, device: Device, source: Source) -> Iterator[tuple[Any, Any]]:
    table, figures, card = (
        TABLE_OF_PHASE[phase],
        load_efficiencies(measured_as(device), "latent").latent,
        load_card("deepseek-v3"),
    )
    assert figures is not None
    if source.find(f"latent_{table}", device.name):
        for same in _same(read_blocks(source, table, device.name), "heads"):
            if phase == "prefill":
                yield same, measured_prefill_s(card, figures.prefill, device.peak, same.heads, same.batch, same.tokens)
            else:
                yield same, measured_step_s(card, figures.decode, device.peak, same.heads, same.batch, same.tokens)


def _states(phase: Phase, device: Device, source: Source) -> Iterator[tuple[Any, Any]]:
    figures = load_efficiencies(measured_as(device), "linear").linear
    assert figures is not None
    if source.find("linear", device.name):
        points = read_states(source, TABLE_OF_PHASE[phase], device.name)
        for same in _same(points, "key_heads", "value_heads", "key_dim", "value_dim"):
            state = StateShape(same.key_heads, same.value_heads, int(same.key_dim[0]), int(same.value_dim[0]))
            if phase == "prefill":
                yield same, chunks_s(figures, device.peak, state, same.batch * same.tokens, same.tokens)
            else:
                yield same, state_s(figures, device.peak, state, same.batch)


def _same(points: Any, *names: str) -> Iterator[Any]:
    """Yield the points that agree in some fields, those with enough of them."""
    keys, which = np.unique(np.column_stack([getattr(points, name) for name in names]), axis=0, return_inverse=True)
    for number in range(len(keys)):
        same = points.rows(which.ravel() == number)
        if len(same) >= LEAST_POINTS:
            yield same
