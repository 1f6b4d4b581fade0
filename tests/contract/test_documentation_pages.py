"""Pages of docs/: links lead somewhere, the site lists every page, the fidelity guide says what its sources say."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"])


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures; what stands in code is none."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a code host gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_stands_once_in_the_site_s_table_of_contents() -> None:
    listed = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), flags=re.DOTALL)
    names = [line for part in listed for line in part.splitlines() if line and not line.startswith(":")]
    assert sorted(names) == sorted(page.stem for page in DOCS.glob("*.md") if page.stem != "index")
    assert not {"search", "genindex", "modindex", "py-modindex"} & set(names), "pages that Sphinx writes itself"


def rows_of(page: Path) -> list[list[str]]:
    """Return the cells of every row of a page's tables of five columns."""
    rows = [line.strip("|").split("|") for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if len(row) == 5 and row[0].strip() != "model"]


def percentages(text: str) -> set[str]:
    """Return the numbers that stand before a percent sign, signs of ranges left out."""
    return {number.lstrip("+-") for number in re.findall(r"[+-]?\d+(?:\.\d+)?(?= ?%)", text)}


def test_the_fidelity_guide_repeats_what_the_pages_say() -> None:
    rows, checked = rows_of(DOCS / "fidelity.md"), 0
    for model, _, error, _, cases in rows:
        for name in re.findall(r"\]\(([\w-]+\.md)", cases):
            said = set(re.findall(r"\d+(?:\.\d+)?", (DOCS / name).read_text()))
            assert percentages(error) <= said, f"{model}: {percentages(error) - said} in {name}"
            checked += len(percentages(error))
    assert len(rows) > 40 and checked > 90


def test_the_fidelity_guide_gives_the_errors_stated_by_the_device_files() -> None:
    guide = [row for row in rows_of(DOCS / "fidelity.md") if row[0].startswith(("roofline", "the same, bf16"))]
    assert len(guide) == 6
    said = {re.sub(r" %", "", part.strip()) for row in guide for part in row[2].split(";")}
    stated = set()
    for device in ("h200", "b200"):
        errors = tomllib.loads((PROJECT / f"zcube/llm/devices/{device}.toml").read_text())["stated_error"]
        stated |= {f"{100 * error['median']:.1f} / {100 * error['p90']:.1f}" for error in errors.values()}
    assert said == stated


def test_the_fidelity_guide_sums_up_attention_by_device() -> None:
    def six(page: str) -> list[list[str]]:
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (DOCS / page).read_text().splitlines()]
        return [row for row in rows if len(row) == 6 and re.fullmatch(r"`?(h|b|gb)\d+(-nvl72)?`?", row[0])]

    by_device: dict[str, list[list[str]]] = {}
    for device, _, *cells in six("models.md"):
        by_device.setdefault(f"`{device}`", []).append(cells)
    assert len(by_device) == 6
    guide = {device: (kinds, cells) for device, kinds, *cells in six("fidelity.md")}
    for device, kinds in by_device.items():
        said = []
        for column in zip(*kinds, strict=True):
            medians = [float(cell.split("/")[0]) for cell in column if "scaled" not in cell]
            scaled = [f", scaled {cell.split('/')[0].strip()} %" for cell in column if "scaled" in cell]
            said.append(f"{min(medians)} to {max(medians)} %{''.join(scaled)}")
        assert guide[device] == (str(len(kinds)), said)
    cards = {path.stem for path in (PROJECT / "zcube/llm/devices").glob("*.toml")}
    assert set(re.findall(r"`([\w-]+)`", (DOCS / "fidelity.md").read_text())) >= cards


def test_commands_of_the_fidelity_guide_name_files_that_exist() -> None:
    commands = " ".join(row[3] for row in rows_of(DOCS / "fidelity.md"))
    named = re.findall(r"(?:benchmarks|verification|tests|calibrations)/[\w./-]+", commands)
    assert len(named) > 30
    assert [name for name in named if not (PROJECT / name).exists()] == []


def loaded(name: str):
    """Return a module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_are_what_the_product_draws() -> None:
    """Their words and the number of their shapes; coordinates may differ between versions of matplotlib."""
    from zcube.report.picture import svg_bytes

    drawn = loaded("pictures").pictures()
    assert sorted(drawn) == sorted(path.stem for path in (DOCS / "pictures").glob("*.svg"))
    for stem, figure in drawn.items():
        new, kept = svg_bytes(figure).decode(), (DOCS / "pictures" / f"{stem}.svg").read_text()
        for pattern in (r"<text[^>]*>([^<]*)<", r"<(path|use) "):
            assert re.findall(pattern, new) == re.findall(pattern, kept), f"{stem}: run python docs/pictures.py"


def test_a_reference_to_nothing_in_the_code_stays_missing() -> None:
    conf = loaded("conf")
    assert conf.found("zcube.plan.plan.Plan.front")
    assert conf.found("zcube.knee.KneeSearch.share")
    assert not conf.found("zcube.plan.search.search.search_document")
    assert not conf.found("zcube.nowhere.thing")


def test_attributes_described_together_get_an_entry_each() -> None:
    lines = ["A table.", "", "Attributes", "----------", "a, b : int", "    Counts.", "c : str", "    A name: not a type.", ""]
    lines += ["    On two lines.", "", "Notes", "-----", "d, e : none."]
    loaded("conf").one_attribute_each(None, "class", "", None, None, lines)
    assert [line for line in lines if line] == [
        "A table.", "Attributes", "----------", "a : int", "    Counts.", "b : int", "    Counts.", "c : str",
        "    A name: not a type.", "    On two lines.", "Notes", "-----", "d, e : none.",
    ]  # fmt: skip


def test_the_formats_page_has_every_wiring_format_and_what_each_is_for() -> None:
    from zcube.fabric.wiring.formats import FORMATS

    page = (DOCS / "formats.md").read_text().partition("## Wiring")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*?\| (yes|) ?\| (yes|) ?\| (yes|) ?\|$", page, flags=re.MULTILINE)
    said = {name: tuple(cell == "yes" for cell in cells) for name, *cells in rows}
    does = {
        name: (form.write is not None, form.read_links is not None, form.read_wiring is not None)
        for name, form in FORMATS.items()
    }
    assert said == does


def test_the_formats_page_has_every_column_of_requests_and_links() -> None:
    import zcube as zc

    page = (DOCS / "formats.md").read_text()
    comparison = zc.compare("nic-cap-32", {"fabrics": ["roft-32"], "requests.count": 20})
    for frame in (comparison.requests(), comparison.links()):
        assert [column for column in frame.columns if column != "fabric" and f"`{column}`" not in page] == []
