"""Pages in a browser: Debian's Chromium, driven by Playwright, started once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: What a browser may be called.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install 'zcube[test]'")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program)


class Opened:
    """A page as opened from a file, and what it asked for and complained of."""

    def __init__(self, page: Any):
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on(
            "console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def outside(self, path: Path) -> list[str]:
        """Return what it asked for beside itself and what stands in it."""
        return [url for url in self.asked if url != path.as_uri() and not url.startswith(("data:", "blob:"))]


@pytest.fixture
def opened(browser: Any) -> Callable[..., Any]:
    """Returns what opens a page at a width, light or dark, and closes it again without a complaint or a request."""

    @contextmanager
    def open_page(path: Path, width: int = 1280, scheme: str = "light") -> Iterator[Opened]:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(10_000)
        try:
            found = Opened(context.new_page())
            found.page.goto(path.as_uri())
            if found.page.query_selector("[data-topology]"):
                found.page.wait_for_selector("[data-topology][data-shown]")
            yield found
            assert found.complaints == []
            assert found.outside(path) == []
        finally:
            context.close()

    return open_page
