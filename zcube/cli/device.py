"""``zcube device``: device cards: which there are, and what one says."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zcube.cli import completion
from zcube.cli.json_option import JsonOption


def list_command(json: JsonOption = False) -> None:
    """List the bundled devices: peaks, memory, links, and which were measured."""
    from zcube.llm.devices import device_names, load_device
    from zcube.outputs import to_json
    from zcube.report.device_table import device_document, devices_text

    devices = [load_device(name) for name in device_names()]
    sys.stdout.write(to_json({one.name: device_document(one) for one in devices}) if json else devices_text(devices))


def show_command(
    device: Annotated[str, typer.Argument(help="Bundled device, or a device's TOML file.", autocompletion=completion.devices)],
    json: JsonOption = False,
) -> None:
    """Show a device's data sheet with its sources, its servers, and the stated error of its compute times."""
    from zcube.llm.devices import load_device
    from zcube.outputs import to_json
    from zcube.report.device_table import device_document, device_text

    found = load_device(device)
    sys.stdout.write(to_json(device_document(found)) if json else device_text(found))
