"""``zcube transport``: the bundled transports: which there are, what one is, a copy to change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zcube.cli import completion
from zcube.cli.json_option import JsonOption


def list_command(json: JsonOption = False) -> None:
    """List the bundled transports and parts of transports."""
    from zcube.inputs import bundled_stems
    from zcube.network.transports import KIND, load_transport
    from zcube.outputs import to_json

    bundles = {stem: load_transport(stem).bundles[stem] for stem in bundled_stems(KIND)}
    if json:
        sys.stdout.write(to_json({name: bundle.model_dump(mode="json") for name, bundle in bundles.items()}))
        return
    width = max(map(len, bundles))
    for name, bundle in bundles.items():
        print(f"{name:{width}}  {bundle.kind:9}  {bundle.description}")


def show_command(
    transport: Annotated[
        str,
        typer.Argument(
            help="Bundled transport, a file, or parts joined by +: spray+dcqcn.", autocompletion=completion.transports
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Show what a transport sets, and where its values come from."""
    from zcube.network.transports import load_transport
    from zcube.outputs import to_json

    found = load_transport(transport)
    if json:
        sys.stdout.write(to_json(found.document()))
        return
    for name, bundle in found.bundles.items():
        print(f"{name} ({bundle.kind}): {bundle.description}")
        for source in bundle.sources:
            print(f"  source: {source}")
    families = dict.fromkeys(["", *(family for bundle in found.bundles.values() for family in bundle.families)])
    for family in families:
        print(f"sets on {family}:" if family else "sets:")
        for key, value in found.changes(family).items():
            print(f"  network.{key} = {value}")


def copy_command(
    transport: Annotated[str, typer.Argument(help="Bundled transport.", autocompletion=completion.transports)],
    file: Annotated[Path, typer.Argument(help="File to make, .toml; it must not exist.")],
) -> None:
    """Copy a bundled transport's file, to be changed and named as a column of zcube matrix."""
    from zcube.errors import Fault, InputError
    from zcube.inputs import bundled_folder, bundled_stems
    from zcube.network.transports import AND, KIND
    from zcube.outputs import write_new_file
    from zcube.workplace import no_place, no_way

    faults = []
    if transport not in bundled_stems(KIND):
        parts = "; of joined parts each by itself" if AND in transport else ""
        faults.append(Fault(transport, "no such transport", f"one of {', '.join(bundled_stems(KIND))}{parts}"))
    if file.suffix != ".toml":
        faults.append(Fault(str(file), f"a name that ends in {file.suffix or 'nothing'}", "a name that ends in .toml"))
    if why := no_way(file):
        faults.append(Fault(str(file), why, "a file in a folder that exists"))
    elif not file.parent.is_dir():
        faults.append(Fault(str(file), f"no folder {file.parent}", "a file in a folder that exists"))
    elif why := no_place(file.parent):
        faults.append(Fault(str(file), f"a folder that {why}, {file.parent}", "a file in a folder that can be written"))
    if faults:
        raise InputError(faults)
    text = (bundled_folder(KIND) / f"{transport}.toml").read_text(encoding="utf-8")
    if not write_new_file(file, text):
        # A copy that nobody has changed is as good as a new one.
        if file.is_file() and file.read_bytes() == text.encode():
            return
        raise InputError(Fault(str(file), "something there already", "a name that is free"))
    print(f"written: {file}\nuse it: zcube matrix kv-funnel --transports {file}", file=sys.stderr)
