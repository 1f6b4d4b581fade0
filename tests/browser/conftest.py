"""Pages in a browser: Debian's Chromium, driven by Playwright, started once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from zcube.cli import main
from zcube.comparison import compare
from zcube.out_folder import out_folder
from zcube.report.folder import write_folder
from zcube.scenario import load_scenario

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


#: Commands of the pages that readers get but for where they are written, and the page in the folder of those that write one.
COMMANDS = {
    "matrix": (
        "matrix kv-funnel --fabrics roft-32,zcube-32 --transports ecmp+dcqcn,adaptive+pfc-only --seeds 2 --jobs 1 "
        "--pattern-set transfers=12 --pattern-set mean_bytes=1e6 --out",
        "matrix.html",
    ),
    "plan": ("plan --gpus 72 --switch 12.8T,25.6T --families spine-leaf,zcube,bcube --jobs 1 --out", "plan.html"),
    "crowded": ("fabric show zcube-n64 --page", ""),
    "fabric": ("fabric show zcube-32@switch:A1 --page", ""),
    "replay": ("replay FLOWS --fabric zcube-32 --fidelity packet --page", ""),
    "sweep": (f"sweep {Path(__file__).with_name('small_sweep.toml')} --jobs 1 --out", "sweep.html"),
    "standing": ("plan --from zcube-32 --to-gpus 64 --jobs 1 --out", "plan.html"),
}
#: Transfers of the replay.
FLOWS = "src,dst,bytes,start_s\n" + "".join(f"{at},{31 - at},{100_000 + at},{at * 1e-6:g}\n" for at in range(8))
FABRICS = ("roft-256", "zcube-256")


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small comparison of two fabrics."""
    changes: dict[str, Any] = {"fabrics": list(FABRICS), "baseline": "roft-256", "gpus": 256, "requests.count": 30}
    found = compare(load_scenario("glm51-pd-1024", {**changes, "prefill.nodes": 24, "decode.nodes": 8}))
    record = {"record_version": 1, "zcube_version": "0", "call": ["compare"]}
    return write_folder(found, record, out_folder(tmp_path_factory.mktemp("browser") / "run"))


@pytest.fixture(scope="session")
def pages(compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns what writes a page of a kind, once."""

    @cache
    def page(kind: str) -> Path:
        if kind == "compare":
            return compared / "report.html"
        command, name = COMMANDS[kind]
        folder = tmp_path_factory.mktemp(kind)
        (folder / "flows.csv").write_text(FLOWS)
        out = folder / ("out" if name else "page.html")
        with pytest.raises(SystemExit) as ended:
            main([*command.replace("FLOWS", str(folder / "flows.csv")).split(), str(out)])
        assert not ended.value.code
        return out / name if name else out

    return page
