"""``zcube model``: model cards: which there are, what follows from one, one made of a model's config.json."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zcube.cli import completion
from zcube.cli.json_option import JsonOption

#: Keys of a configuration that are named where they were not looked at.
MOST_UNUSED = 30


def list_command(json: JsonOption = False) -> None:
    """List the bundled model cards."""
    from zcube.llm.cards import card_names, load_card
    from zcube.outputs import to_json
    from zcube.report.model_table import card_document, cards_text

    cards = [load_card(name) for name in card_names()]
    sys.stdout.write(to_json({card.name: card_document(card) for card in cards}) if json else cards_text(cards))


def show_command(
    model: Annotated[str, typer.Argument(help="Bundled card, or a card's TOML file.", autocompletion=completion.cards)],
    json: JsonOption = False,
) -> None:
    """Show a model's sizes, parameters and KV bytes, and whether its serving can be simulated."""
    from zcube.llm.cards import load_card
    from zcube.outputs import to_json
    from zcube.report.model_table import card_document, card_text

    card = load_card(model)
    sys.stdout.write(to_json(card_document(card)) if json else card_text(card))


def import_command(
    config: Annotated[Path, typer.Argument(help="A model's config.json, as Hugging Face has it.")],
    out: Annotated[Path | None, typer.Option("--out", help="Card to write, .toml; default: only shown.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the card; default: that of the file's folder.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a model card of a config.json; what a card cannot express is refused by its key."""
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.llm.card_import import ImportedCard, import_card
    from zcube.outputs import to_json, write_file
    from zcube.report.model_table import card_document, card_text
    from zcube.report.names import printable

    def write(found: ImportedCard, path: Path) -> None:
        write_file(path, lambda made: made.write_text(found.toml(), encoding="utf-8"))

    targets = [Target("--out", out, (".toml",), write)]
    check_targets(targets, [config])
    found = import_card(config, name)
    write_targets(targets, found)
    if json:
        sys.stdout.write(to_json({**card_document(found.card), "unused": list(found.unused)}))
    else:
        sys.stdout.write(card_text(found.card))
    if found.unused:
        shown = [printable(key) for key in found.unused[:MOST_UNUSED]]
        more = f" and {len(found.unused) - MOST_UNUSED} more" if len(found.unused) > MOST_UNUSED else ""
        print(f"not looked at: {', '.join(shown)}{more}", file=sys.stderr)
