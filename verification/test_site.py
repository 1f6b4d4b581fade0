"""The documentation site builds without a warning, a link to nowhere stops it, and a browser shows it from a file path."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of ``folder/docs``."""
    pytest.importorskip("furo", reason="pip install '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going", folder / "docs", folder / "site"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=PROJECT, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PROJECT / "docs", folder / "docs")
    done = built(folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.slow
def test_every_page_is_there(site: Path) -> None:
    for page in (PROJECT / "docs").glob("*.md"):
        html = (site / f"{page.stem}.html").read_text()
        title = page.read_text().partition("\n")[0].removeprefix("# ").partition(":")[0].partition("`")[0]
        assert title.replace("'", "’").strip() in html, page.name
    assert "isol" in (site / "searchindex.js").read_text()


@pytest.mark.slow
def test_a_link_to_nowhere_and_a_docstring_that_names_nothing_stop_it(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "docs", tmp_path / "docs")
    page = tmp_path / "docs" / "start.md"
    page.write_text(page.read_text() + "\n[nowhere](nowhere.md)\n")
    page = tmp_path / "docs" / "api.md"
    page.write_text(page.read_text() + "\n```{eval-rst}\n:func:`zcube.plan.plan.no_such_function`\n```\n")
    broken = built(tmp_path)
    assert broken.returncode != 0
    assert "nowhere.md" in broken.stderr and "no_such_function" in broken.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_open_from_a_file_path(site: Path, width: int, scheme: str) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium is installed")
    asked, complaints = [], []
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch(executable_path=program).new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for path in sorted(site.glob("*.html")):
            page.goto(path.as_uri())
            beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert beyond == 0, (path.name, beyond)
        page.goto(f"{(site / 'search.html').as_uri()}?q=isolation")
        page.wait_for_selector("#search-results li")
        hits = page.locator("#search-results li a").all_inner_texts()
    assert any(hit.startswith("Lossless") for hit in hits)
    assert complaints == []
    assert [url for url in asked if not url.startswith((site.as_uri(), "data:"))] == []
