"""The worst windows of a run, rebuilt packet by packet, as rows; and the band in which its 99th percentiles lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zcube.report.packet_picture import port_text
from zcube.report.quantities import bytes_text, time_text

HEADS = (
    "At", "Seed", "Excess", "Under way", "Left", "Starting", "Unit", "Pauses", "Paused longest", "Queue", "Victims",
    "Ratio P50", "P99",
)  # fmt: skip

NOTE = (
    "Windows in which transfers lost most time to others under the run's model, of those with a transfer in common the worst; "
    "what was under way then and what starts in them is carried to its end by packets, from empty queues. Excess: seconds of "
    "transfers beyond what each takes alone. Unit: bytes of a packet or cell. Queue: the deepest. Ratio: time by packets over "
    "time in the max-min fluid. Bands: another model's P99 is the run's with its sending longer by the ratio of the two "
    "models' P99 over these windows, and its slow-downs larger by the ratio of a transfer drawn from them, as if the whole run "
    "were like them."
)


def window_cells(found: Mapping[str, Any]) -> list[list[str]]:
    """Return heads and a row per window that was rebuilt."""
    return [list(HEADS), *(_row(window) for window in found["windows"] if window["why_not"] is None)]


def remarks(found: Mapping[str, Any]) -> list[str]:
    """Return which windows were not rebuilt and why, or why there are none, and the bands."""
    lines = [] if found["why_none"] is None else [f"No window: {found['why_none']}."]
    lines += [
        f"Not rebuilt at {window['start_s']:.6g} s under seed {window['seed']}: {window['why_not']}."
        for window in found["windows"]
        if window["why_not"]
    ]
    return lines + [
        _band(name, found[key], text)
        for key, name, text in (
            ("transfer_p99_s", "P99 of transfers", time_text),
            ("slow_down_p99", "P99 of slow-downs", "{:.3f}".format),
            ("ttft_p99_s", "P99 of times to first token", time_text),
        )
        if all(value is not None for value in found[key].values())
    ]


def _row(window: Mapping[str, Any]) -> list[str]:
    ports, victims, ratio = window["ports"], window["victims"], window["ratio"]
    paused = max((port for port in ports if port["paused_s"]), key=lambda port: port["paused_s"], default=None)
    deepest = max(ports, key=lambda port: port["peak_bytes"], default=None)
    return [
        f"{window['start_s']:.6g} s",
        f"{window['seed']}",
        time_text(window["excess_s"]),
        f"{window['under_way']:,}",
        bytes_text(window["under_way_bytes"]),
        f"{window['starting']:,}",
        f"{window['unit_bytes']:,} B",
        f"{window['pauses']:,}",
        "-" if paused is None else f"{port_text(paused['from'], paused['to'])} {time_text(paused['paused_s'])}",
        "-" if deepest is None else bytes_text(deepest["peak_bytes"]),
        f"{victims['flows']:,}",
        f"{ratio['p50']:.3f}",
        f"{ratio['p99']:.3f}",
    ]


def _band(name: str, by_model: Mapping[str, float], text: Callable[[float], str]) -> str:
    low, high = min(by_model.values()), max(by_model.values())
    each = ", ".join(f"{model} {text(value)}" for model, value in by_model.items())
    return f"{name}: {text(low)} to {text(high)} ({each})."
