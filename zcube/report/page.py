"""What every one-file page shares: a frame that lets nothing but its own scripts run, and templates that escape all data."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from zcube.outputs import write_file
from zcube.report.names import printable

#: Where a frame's policy and styles go; the first of them in a page stands before all data.
_HEAD = "<!--head-->"
#: Stands in every page, so that it is known as this program's.
MADE_BY = '<meta name="generator" content="zcube">'
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Section:
    """A part of a page that another room fills.

    Attributes
    ----------
    title, anchor : str
        Heading, and the element's id: ASCII letters, digits and ``-``.
    template : str
        File under ``templates/`` of what stands in it, in which the section is ``it``.
    fields : mapping
        What the template shows, as ``it.fields``.
    scripts : tuple of str
        Files under ``templates/`` that the page runs for it, as one.
    style : str
        File under ``templates/`` that the page needs for it; empty for none.
    data : Any
        JSON-ready, for the script: in an element ``<anchor>-data``; None for none.
    is_open : bool
        Whether it is unfolded at first.
    """

    title: str
    anchor: str
    template: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    style: str = ""
    data: Any = None
    is_open: bool = False


def render_page(
    template: str,
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    sections: Sequence[Section] = (),
    **fields: Any,
) -> str:
    """Return a page of a template under ``templates/`` that extends the frame.

    The page's Content-Security-Policy names scripts and styles by their hashes, and forbids all else: no attribute may hold
    either. Colours that come from data are classes, by ``shade(background, ink)``.

    Parameters
    ----------
    template : str
        File name.
    scripts, styles : sequence of str
        Files under ``templates/`` besides the frame's.
    data : mapping, optional
        JSON-ready values by the id of the element that holds each, for the scripts.
    sections : sequence of Section
        Parts from other rooms; the template places them.
    **fields
        What it shows; all are needed, and all text is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    shades = _Shades()
    environment = Environment(
        loader=PackageLoader("zcube.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["shade"] = shades.shade
    # What every page has is one script.
    own_scripts = ["\n".join(_texts(["frame.js", "csv.js"])), *_texts(scripts)]
    own_scripts += dict.fromkeys(_as_one(one.scripts) for one in sections if one.scripts)
    own_styles = _texts(["frame.css", *styles, *(one.style for one in sections)])
    own_data = {**(data or {}), **{f"{one.anchor}-data": one.data for one in sections if one.data is not None}}
    page = environment.get_template(template).render(
        page_scripts=[Markup(text) for text in own_scripts], page_data=own_data, sections=sections, **fields
    )
    return page.replace(_HEAD, _head(own_scripts, [*own_styles, *shades.rules()]), 1)


class _Shades:
    """Colours that a page takes from data, each a rule of its style."""

    def __init__(self) -> None:
        self._used: dict[str, str] = {}

    def shade(self, background: str, ink: str | None = None) -> str:
        """Return the class that gives an element a background and, if wanted, an ink."""
        colours = [background] if ink is None else [background, ink]
        if not all(_COLOUR.fullmatch(colour) for colour in colours):
            raise ValueError(f"no colour as #rrggbb: {colours}")
        name = "-".join(["shade", *(colour[1:].lower() for colour in colours)])
        self._used[name] = f".{name}{{background-color:{background}" + (f";color:{ink}}}" if ink else "}")
        return name

    def rules(self) -> list[str]:
        return ["\n".join(self._used[name] for name in sorted(self._used))] if self._used else []


def _head(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return the policy and the styles."""
    allowed = [" ".join(f"'sha256-{_digest(text)}'" for text in texts) for texts in (scripts, styles)]
    policy = (
        f"default-src 'none'; script-src {allowed[0]}; style-src {allowed[1]}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    rule = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return "\n".join([MADE_BY, rule, *(f"<style>{text}</style>" for text in styles)])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _as_one(names: Sequence[str]) -> str:
    """Return files under ``templates/`` as one script, whose parts know each other and nothing else of the page does."""
    return "\n".join(['"use strict";', "(async () => {", *_texts(names), "})();"])


def _texts(names: Sequence[str]) -> list[str]:
    """Return files under ``templates/``, each once; empty names are none."""
    folder = files("zcube.report") / "templates"
    return [(folder / name).read_text(encoding="utf-8").strip() for name in dict.fromkeys(filter(None, names))]


def _shown(value: Any) -> Any:
    """Return what a template writes: text without control characters and marks that turn writing round."""
    # What is marked as safe was shown before.
    if not isinstance(value, str) or hasattr(value, "__html__") or not value.strip():
        return value
    return printable(value)


def is_page(path: Path) -> bool:
    """Return whether a file is a page that this program wrote."""
    with path.open("rb") as handle:
        return MADE_BY.encode() in handle.read(4096)


def write_page(page: str, path: Path) -> None:
    """Write a page whole."""
    write_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
