"""A model card from a model's ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zcube.errors import Fault, InputError
from zcube.input_files import is_file
from zcube.inputs import toml_value, validate
from zcube.llm.cards import ModelCard
from zcube.llm.config_file import KEYS, numbers_of, read_config


@dataclass(frozen=True)
class ImportedCard:
    """A card, and what of its configuration it does not hold.

    Attributes
    ----------
    card : ModelCard
    unused : tuple of str
        Keys of the configuration that were not looked at and may say something of sizes.
    """

    card: ModelCard
    unused: tuple[str, ...] = ()

    def toml(self) -> str:
        """Return the card as the text of a file, without what the model has none of."""
        named = self.card.model_dump(exclude_defaults=True)
        return "".join(f"{key} = {toml_value(value)}\n" for key, value in named.items())


def import_card(path: Path, name: str | None = None) -> ImportedCard:
    """Read a Hugging Face ``config.json`` as a card.

    Parameters
    ----------
    path : Path
        The file.
    name : str, optional
        Of the card; default: the folder's name, or the file's where that says more.

    Raises
    ------
    InputError
        If there is no such file, it is no configuration of a language model, a value is of a wrong kind, or it says what a card
        cannot express; every fault at once.
    """
    if not is_file(str(path)):
        raise InputError(Fault(str(path), "no such file", "a model's config.json"))
    config = read_config(path)
    numbers = numbers_of(config, path.name)
    called = name or (path.parent.resolve().name if path.name == "config.json" else path.stem) or "model"
    kinds = config.get("architectures")
    kind = kinds[0] if isinstance(kinds, list) and kinds and isinstance(kinds[0], str) else config.get("model_type")
    described = f"{called} ({kind})" if isinstance(kind, str) else called
    data = {field: value for field, (_, value) in numbers.found.items()}
    keys = {field: key for field, (key, _) in numbers.found.items()}
    named = {"name": called[:200], "description": described[:400], "source": f"{path.name} of {called}"[:400]}

    def where(field: str) -> str:
        return f"{path.name}: {keys.get(field) or KEYS.get(field, (field,))[0]}" if field else path.name

    return ImportedCard(validate(ModelCard, named | data, where), numbers.unused)
