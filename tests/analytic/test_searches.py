"""Two searches over one comparison's loads: what each comes to alone, and no run made twice."""

from __future__ import annotations

from typing import Any

import pytest

import zcube as zc
from zcube import other_loads
from zcube.errors import Fault, InputError
from zcube.knee import KneeSearch, find_knees
from zcube.other_loads import OtherLoads
from zcube.scenario import Scenario
from zcube.verdict.knees import knee_sentences

CHANGES: dict[str, Any] = {
    "fabrics": ["roft-256", "zcube-256"],
    "baseline": None,
    "requests.count": 40,
    "load.mode": "open",
    "load.rate_per_s": 1.0,
    "measure.least_requests": 1,
    "measure.least_turnovers": 0.0,
    "measure.least_filled": 0.0,
    "measure.warm_up_s": 1.0,
    # Met at every load, so that the search goes up as that of the knee does.
    "slo.ttft_s": 1e6,
}
ASKED = {"highest": 4.0, "max_loads": 3}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, str]]:
    """Fabric, rate and fidelity of every run at another load."""
    made: list[tuple[str, float, str]] = []
    compare = other_loads.compare

    def recorded(scenario: Scenario, **how: Any) -> Any:
        made.append((scenario.fabrics[0], float(scenario.load.rate_per_s or 0), scenario.network.fidelity))
        return compare(scenario, **how)

    monkeypatch.setattr(other_loads, "compare", recorded)
    return made


def test_searches_share_their_runs_and_find_what_each_finds_alone(runs: list[tuple[str, float, str]]) -> None:
    both = zc.compare("glm51-pd-256", CHANGES, find_knee=ASKED, find_capacity=ASKED)
    made = list(runs)
    assert len(set(made)) == len(made)
    runs.clear()
    knee = zc.compare("glm51-pd-256", CHANGES, find_knee=ASKED)
    capacity = zc.compare("glm51-pd-256", CHANGES, find_capacity=ASKED)
    assert (both.knee, both.capacity) == (knee.knee, capacity.capacity)
    assert (knee.capacity, capacity.knee) == (None, None)
    # Alone, both run the fabrics at higher loads; together, these are run once.
    alone = [run for run in runs if run[2] == "flow"]
    assert len(set(alone)) < len(alone) and set(made) == set(runs)
    sentences = both.document()["verdict"]["sentences"]
    assert list(sentences) == ["headline", "cautions", "limits", "knee", "capacity", "published", "rules"]
    assert [sentence.split(":")[0] for sentence in sentences["rules"]] == ["Limits", "Knee", "Capacity"]


def test_what_does_not_fit_is_told_at_once(run: Any) -> None:
    with pytest.raises(InputError) as error:
        zc.compare("glm51-pd-256", {"network.fidelity": "ideal"}, find_knee={"share": 0.0}, find_capacity={"share": 2.0})
    told = str(error.value)
    for fault in ("find_knee: share", "find_capacity: share", "fabric zcube-256: network.fidelity", "slo"):
        assert fault in told
    status, out, err = run("compare", "glm51-pd-256", "--knee-share", "0.1", "--slo-share", "0.9")
    assert (status, out) == (2, "")
    assert "--knee-share: found no --find-knee" in err and "--slo-share: found no --find-capacity" in err
    status, out, err = run("compare", "glm51-pd-256", "--find-knee", "--knee-share", "-1", "--knee-tolerance", "0")
    assert (status, out) == (2, "") and "--knee-share: found -1" in err and "--knee-tolerance: found 0" in err


def test_a_refused_run_ends_the_knee_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = zc.compare("glm51-pd-256", CHANGES)

    def refused(self: OtherLoads, fabric: str, load: float) -> dict[str, Any]:
        raise InputError(Fault("network.memory_gb", "1", "more"))

    monkeypatch.setattr(OtherLoads, "ideal_metrics", refused)
    knees = find_knees(OtherLoads(comparison), KneeSearch(max_loads=9)).document()
    assert {found["status"] for found in knees["fabrics"].values()} == {"no window"}
    assert all("there is nothing to compare: network.memory_gb" in sentence for sentence in knee_sentences(knees))
