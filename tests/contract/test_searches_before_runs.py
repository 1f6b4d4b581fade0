"""What a search over loads needs is missed before anything is simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import zcube as zc
from zcube import fabric_run


@pytest.fixture
def at_once(tmp_path: Path) -> Path:
    """Return a trace of requests that come all at once."""
    path = tmp_path / "at_once.jsonl"
    rows = [{"timestamp": 0, "input_length": 600, "output_length": 4, "hash_ids": [2 * n, 2 * n + 1]} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("search", [{"find_knee": True}, {"find_capacity": True}])
def test_requests_without_a_rate_are_refused_before_anything_runs(
    at_once: Path, search: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fabric_run, "serve", lambda *_: pytest.fail("simulated"))
    changes = {"requests.source": str(at_once), "requests.count": None, "load.mode": "open", "slo.ttft_s": 1.0}
    with pytest.raises(zc.InputError, match="come all at once") as told:
        # Beside another fault: all are told at once.
        zc.compare("glm51-pd-256", changes | {"cost.price_book": "no-such-book"}, **search)
    assert "no-such-book" in str(told.value)


def test_without_a_search_they_run(at_once: Path) -> None:
    changes = {"requests.source": str(at_once), "requests.count": None, "load.mode": "open", "fabrics": ["roft-256"]}
    (fabric,) = zc.compare("glm51-pd-256", changes).document()["fabrics"].values()
    assert fabric["requests"]["completed"] == 4
