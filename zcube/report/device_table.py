"""What a device card says, as plain text and as a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zcube.llm.devices import Device
from zcube.llm.stated_error import measured_parts
from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.quantities import bytes_text


def device_document(device: Device) -> dict[str, Any]:
    """Return a device's card, which of its parts were measured, and a GPU's share of its server's NICs, JSON-ready."""
    return {
        "card": device.model_dump(mode="json"),
        "measured": device.scaled_from is None,
        "measured_parts": measured_parts(device),
        "nic_gbps_per_gpu": device.node.gpu_gbps,
    }


def device_text(device: Device) -> str:
    """Return a device's card as aligned lines with a final newline; of the compute model only its stated errors."""
    node = device.node
    packages = f" in {node.gpus // node.gpus_per_package} packages" if node.gpus_per_package > 1 else ""
    rows = [
        ("Device", printable(f"{device.name}: {device.description}")),
        ("Source", printable(device.source)),
        ("Peaks, dense", _peaks(device)),
        ("Memory", f"{_memory(device)}at {bytes_text(device.peak.memory_gbytes_per_s * 1e9)}/s"),
        ("Scale-up", printable(f"{node.scale_up}, {_link(device)} a direction, joins {node.scale_up_gpus} GPUs")),
        ("Server", f"{node.gpus} GPUs{packages}, {node.nics} NICs of {node.nic_gbps:g} Gb/s, {node.gpu_gbps:g} Gb/s a GPU"),
        *((f"  {printable(figure)}", printable(source)) for figure, source in device.sources.items()),
        ("Compute times", _measured(device)),
        *((f"  {part}", _which(parts)) for part, parts in measured_parts(device).items()),
        *((f"  {operation.replace('_', ' ')}", _error(device, operation)) for operation in device.stated_error),
    ]
    return "\n".join(aligned(rows, left=2)) + "\n"


def devices_text(devices: Sequence[Device]) -> str:
    """Return a line a device with its data sheet."""
    head = (
        "Device",
        "8-bit",
        "BF16 TFLOP/s",
        "Memory",
        "a second",
        "Scale-up",
        "joins",
        "GPUs a server",
        "Gb/s a GPU",
        "Measured: attention",
        "experts",
        "collectives",
        "exchanges",
        "Others from",
    )
    rows = [
        (
            one.name,
            f"{one.peak.fp8_tflops:,.0f}",
            f"{one.peak.bf16_tflops:,.0f}",
            _memory(one).strip() or "-",
            bytes_text(one.peak.memory_gbytes_per_s * 1e9),
            bytes_text(one.peak.nvlink_gbytes_per_s * 1e9),
            str(one.node.scale_up_gpus),
            str(one.node.gpus),
            f"{one.node.gpu_gbps:g}",
            *(_share(parts) for parts in measured_parts(one).values()),
            one.scaled_from or "-",
        )
        for one in devices
    ]
    return "\n".join(aligned([head, *rows], left=(0, 9, 10, 11, 12, 13))) + "\n"


def _share(parts: Mapping[str, bool]) -> str:
    """Return how many parts of a kind were measured."""
    return {0: "no", len(parts): "yes"}.get(sum(parts.values()), f"{sum(parts.values())} of {len(parts)}")


def _which(parts: Mapping[str, bool]) -> str:
    """Return which parts of a kind were measured, in words."""
    names: dict[str, list[str]] = {"measured": [], "not measured": []}
    for part, is_measured in parts.items():
        names["measured" if is_measured else "not measured"].append(part.replace("_", " "))
    return "; ".join(f"{word}: {', '.join(of_word)}" for word, of_word in names.items() if of_word)


def _peaks(device: Device) -> str:
    peak = device.peak
    parts = [("FP4", peak.fp4_tflops), ("8-bit", peak.fp8_tflops), ("BF16", peak.bf16_tflops), ("INT8", peak.int8_tflops)]
    return ", ".join(f"{name} {value:g} {'TOP/s' if name == 'INT8' else 'TFLOP/s'}" for name, value in parts if value)


def _memory(device: Device) -> str:
    return "" if device.peak.memory_gbytes is None else f"{bytes_text(device.peak.memory_gbytes * 1e9)} "


def _link(device: Device) -> str:
    return f"{bytes_text(device.peak.nvlink_gbytes_per_s * 1e9)}/s"


def _measured(device: Device) -> str:
    return (
        "measured"
        if device.scaled_from is None
        else printable(f"unmeasured but for what is named: those of {device.scaled_from}, scaled by data sheets")
    )


def _error(device: Device, operation: str) -> str:
    error = device.stated_error[operation]
    return f"{100 * error.median:.1f} / {100 * error.p90:.1f} %, {printable(error.against)}"
