"""``zcube demo``: sample inputs that the documentation's commands name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zcube.cli.json_option import JsonOption


def demo_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write; replaced if it holds nothing but unchanged samples.")] = Path(
        "zcube-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="What the samples are made from.")] = 0,
    json: JsonOption = False,
) -> None:
    """Write sample transfers, requests, NCCL measurements, recordings and cables: every file that README's commands name."""
    from zcube.outputs import to_json
    from zcube.samples.catalog import SAMPLES, write_samples

    demo = write_samples(folder, seed)
    if json:
        sys.stdout.write(to_json(demo.document()))
        return
    for sample in SAMPLES:
        names = list(sample.makers)
        print(f"{names[0] if len(names) < 3 else f'{names[0]} to {names[-1]}'}: {sample.what}")
    print(f"{'written' if demo.is_new else 'there already'}: {demo.folder}", file=sys.stderr)
