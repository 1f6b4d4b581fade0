"""Busy streams of generated requests are folded from slower ones: as the stream itself in every mean, at no more cost."""

import numpy as np
import pytest

from zcube.workload import coding_agent
from zcube.workload.coding_agent import BATCH_SESSIONS, CodingAgent, generate_requests
from zcube.workload.offered import offered_requests
from zcube.workload.source import Requests

SEEDS, REQUESTS = 12, 1_500
BUSY = CodingAgent(session_starts_per_s=4.0, warm_up_s=1800.0)


@pytest.fixture
def sessions_grown(monkeypatch):
    """Count the sessions that are generated, restarts left out."""
    counted = []
    grow_batch = coding_agent._batch

    def counting(*given):
        counted.append(BATCH_SESSIONS)
        return grow_batch(*given)

    monkeypatch.setattr(coding_agent, "_batch", counting)
    return counted


def statistics(trace):
    _, turns = np.unique(trace.session, return_counts=True)
    return {
        "span": trace.duration_s,
        "mean prompt": trace.input_tokens.mean(),
        "deviation of prompts": trace.input_tokens.std(),
        "hit bound": trace.summary().prefix_hit_bound,
        "sessions per request": len(turns) / len(trace),
        "sessions with one request": (turns == 1).mean(),
        "median gap": np.median(np.diff(trace.arrival_s)),
    }


def over_seeds(first_seed):
    rows = [statistics(generate_requests(BUSY, REQUESTS, first_seed + seed)) for seed in range(SEEDS)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_a_folded_stream_has_the_statistics_of_the_stream(monkeypatch):
    assert coding_agent._copies(BUSY, REQUESTS) == 1
    direct = over_seeds(0)
    monkeypatch.setattr(coding_agent, "MAX_WARM_UP_SESSIONS", 1_800)
    assert coding_agent._copies(BUSY, REQUESTS) == 4
    folded = over_seeds(1000)
    for name, values in direct.items():
        error = np.hypot(values.std(ddof=1), folded[name].std(ddof=1)) / SEEDS**0.5
        assert abs(values.mean() - folded[name].mean()) < 4 * error, (name, values.mean(), folded[name].mean(), error)


@pytest.mark.parametrize("copies", [2, 7, 300])
def test_a_fold_keeps_every_request_and_only_takes_sessions_apart(monkeypatch, copies):
    agent = BUSY.model_copy(update={"session_starts_per_s": BUSY.session_starts_per_s / copies})
    slow = generate_requests(agent, 900, 5)
    monkeypatch.setattr(coding_agent, "_copies", lambda agent, requests: copies)
    folded = generate_requests(BUSY, 900, 5)
    assert np.array_equal(np.sort(folded.input_tokens), np.sort(slow.input_tokens))
    assert folded.arrival_s[0] == 0 and np.all(np.diff(folded.arrival_s) >= 0)
    assert folded.duration_s <= slow.duration_s / copies * 1.2
    assert folded.session.max() >= slow.session.max()
    # The shared prefix is one, and no block beyond the group's prefix belongs to two sessions, restarts apart.
    assert len({folded.blocks(row)[0] for row in range(900)}) == 1
    plain = CodingAgent(session_starts_per_s=4.0, warm_up_s=1800.0, restart_fraction=0.0)
    folded = generate_requests(plain, 900, 5)
    own = (plain.shared_prefix_tokens + plain.group_prefix_tokens) // plain.block_tokens
    owner = {}
    for row in range(900):
        for block in folded.blocks(row)[own:].tolist():
            assert owner.setdefault(block, folded.session[row]) == folded.session[row]


@pytest.mark.parametrize("rate_per_s", [200.0, 1e4, 1e6])
@pytest.mark.parametrize("count", [1, 20, 2_000])
def test_a_high_rate_costs_no_more_than_a_low_one(sessions_grown, rate_per_s, count):
    requests = Requests(source="coding-agent", count=count)
    offered = offered_requests(requests, rate_per_s, False, 3)
    assert len(offered.trace) == count
    if count > 1:
        assert count / offered.trace.duration_s == pytest.approx(rate_per_s)
    # Once to learn the rate of the parameters as they are, once at the rate asked for.
    assert sum(sessions_grown) < coding_agent.MAX_WARM_UP_SESSIONS + 2 * (count + 2 * BATCH_SESSIONS) + 3 * 0.2 * 3600


def test_at_a_very_high_rate_nearly_every_request_is_of_a_session_of_its_own():
    trace = offered_requests(Requests(source="coding-agent", count=500), 1e6, False, 1).trace
    assert len(np.unique(trace.session)) == 500
    slow = generate_requests(CodingAgent(), 4_000, 1)
    assert trace.input_tokens.mean() == pytest.approx(slow.input_tokens.mean(), rel=0.15)
