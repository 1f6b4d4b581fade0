"""docs/scenarios.md: every key of every declared file, with a meaning; none that the code does not have."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import zcube
from zcube.inputs import Declared

DOCS = Path(__file__).resolve().parents[2] / "docs"

#: Declared models that no file holds and no option sets, and why.
IN_NO_FILE = {
    "zcube.front_door.replaying.Network": "the table [network] as keyword arguments",
    "zcube.calibrate.node_links.CalibratedLine": "made of a calibration",
    "zcube.llm.tables.links.MeasuredLine": "made of measured tables",
    "zcube.network.packet.controls.NoControl": "has no keys",
}


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(model: type[Declared] = Declared) -> Iterator[type[Declared]]:
    """Return the package's declared models that others do not derive from."""
    for part in model.__subclasses__():
        if part.__module__.startswith("zcube."):
            yield from declared(part)
            if not any(
                one.__module__.startswith("zcube.") and not one.__module__.startswith("zcube.front_door")
                for one in part.__subclasses__()
            ):
                yield part


def test_every_declared_model_has_a_section() -> None:
    for module in pkgutil.walk_packages(zcube.__path__, "zcube."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {f"{model.__module__}.{model.__name__}" for model in declared()}
    told = {f"{model.__module__}.{model.__name__}" for _, _, model in generator().sections()}
    assert len(found) > 70
    assert set(IN_NO_FILE) <= found
    assert sorted(found - told - set(IN_NO_FILE)) == [], "add these to SECTIONS of docs/generate.py"


def test_every_key_has_a_meaning_and_stands_once_in_its_section() -> None:
    page = (DOCS / "scenarios.md").read_text()
    parts = re.split(r"^(?=##)", page, flags=re.MULTILINE)
    module = generator()
    sections = [(text.strip(), model) for text, _, model in module.sections()]
    assert len(sections) == len(parts) - 1
    for (heading, model), part in zip(sections, parts[1:], strict=True):
        assert part.startswith(heading)
        shown = re.findall(r"^\| `([^`]+)` \| .+ \| .+ \| (.*) \|$", part, flags=re.MULTILINE)
        assert [name for name, _ in shown] == list(model.model_fields), heading
        assert [name for name, meaning in shown if not meaning.strip()] == [], f"{model.__module__}.{model.__name__}"


def test_a_key_without_a_meaning_and_one_with_a_base_s_are_told_apart() -> None:
    class Base(Declared):
        """A base."""

        size: int = 0

    class Inner(Declared):
        """A table. Of much."""

    class Example(Base):
        """An example, whose ``above`` is said here.

        Attributes
        ----------
        size : int
            How large.
        """

        size: int = 1
        above: int = 0
        inner: Inner | None = None
        nothing: tuple[int, ...] = ()

    rows = {name: (kind, meaning) for name, kind, _, meaning in generator().rows(Example)}
    assert rows == {
        "size": ("int", "How large."),
        "above": ("int", "above"),
        "inner": ("Inner or None", "A table"),
        "nothing": ("tuple[int, ...]", ""),
    }
