"""What every one-file page shares: templates in which all that comes from data is escaped, and pictures in it."""

from __future__ import annotations

import base64
from typing import Any

from zcube.report.names import printable


def render_page(template: str, **fields: Any) -> str:
    """Return a page of a template under ``templates/``.

    Parameters
    ----------
    template : str
        File name.
    **fields
        What it shows; all are needed, and all text is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("zcube.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**fields)


def _shown(value: Any) -> Any:
    """Return what a template writes: text without control characters and marks that turn writing round."""
    # What is marked as safe was shown before; embedded pictures are plain ASCII.
    if not isinstance(value, str) or hasattr(value, "__html__") or not value.strip() or value.startswith("data:"):
        return value
    return printable(value)


def embedded(picture: bytes, form: str) -> str:
    """Return a picture as the address that an ``img`` takes, so that the page stays one file."""
    kinds = {"png": "image/png", "svg": "image/svg+xml"}
    return f"data:{kinds[form]};base64,{base64.b64encode(picture).decode('ascii')}"
