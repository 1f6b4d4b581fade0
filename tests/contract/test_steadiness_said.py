"""What is said of runs without a steady state: in the table, in the document and on the page alike."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("one_picture")

SMALL = [
    "compare", "glm51-pd-256", "--fabric", "roft-256", "--set", "load.mode=open", "--set", "load.rate_per_s=40",
    "--set", "requests.count=600", "--set", "requests.coding_agent.output_tokens_mu=4", "--set", "prefill.nodes=4",
]  # fmt: skip


def told(run, tmp_path, *options):
    """Run into a folder and return what stands in the table, in the document of the fabric and on the page."""
    status, out, err = run(*SMALL, *options, "--out", str(tmp_path / "out"))
    assert status == 0, err
    document = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    return " ".join(out.split()), document["fabrics"]["roft-256"], page


def test_more_load_than_the_cluster_serves_is_not_steady(run, tmp_path):
    options = ["--set", "measure.least_filled=0", "--set", "measure.least_turnovers=0"]
    table, fabric, page = told(run, tmp_path, *options)
    reason, law = fabric["window"]["unsteady"], fabric["littles_law"]
    assert fabric["window"]["no_rate"] is None and law["steady"] is False
    assert law["departures_per_s"] < 0.95 * law["arrivals_per_s"]
    assert reason.startswith(f"{law['arrivals_per_s']:.4g} requests/s came and {law['departures_per_s']:.4g} left, -")
    assert f"not steady: {reason}." in table and "Throughput (not steady)" in table
    assert f"not steady: {reason}." in page and ">Throughput (not steady)<" in page


def test_a_trace_too_short_has_no_rate(run, tmp_path):
    table, fabric, page = told(run, tmp_path)
    reason = fabric["window"]["no_rate"]
    assert "measure.least_filled asks for 95 %; about " in reason and reason.endswith(" requests would do")
    assert set(fabric["throughput"].values()) == {None} and fabric["littles_law"]["steady"] is None
    assert f"none, so no rates: {reason}" in table and f"none, so no rates: {reason}" in page


@pytest.mark.parametrize("count", [20, 200])
def test_the_default_scenario_cut_short_has_no_rate(run, count):
    _, out, _ = run("compare", "--fabric", "roft-1024", "--set", f"requests.count={count}", "--json")
    (fabric,) = json.loads(out)["fabrics"].values()
    assert fabric["window"]["no_rate"] and set(fabric["throughput"].values()) == {None}
