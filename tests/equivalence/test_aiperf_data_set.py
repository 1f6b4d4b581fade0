"""The generator and the reader of sessions against NVIDIA aiperf's own data set, where aiperf 0.13 is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from zcube.workload.coding_agent import CodingAgent, generate_requests
from zcube.workload.readers import ReadOptions, read_requests

try:
    INSTALLED = version("aiperf")
except PackageNotFoundError:
    INSTALLED = None
pytestmark = pytest.mark.skipif(
    INSTALLED is None or not INSTALLED.startswith("0.13."),
    reason=f"needs aiperf 0.13 (found {INSTALLED or 'none'}): pip install aiperf==0.13.0",
)

MANIFEST = "1k_sessions_200k_ctx"
SEEDS = range(42, 47)
SESSIONS = 1131


def synthesized(seed: int, sessions: int = SESSIONS):
    import aiperf.dataset.agentic_code_gen as generator
    from aiperf.dataset.agentic_code_gen.config import load_config
    from aiperf.dataset.agentic_code_gen.session_synthesizer import SessionSynthesizer

    manifest = Path(generator.__file__).parent / "datasets" / MANIFEST / "manifest.json"
    config = load_config(str(manifest))
    return config, SessionSynthesizer(config, seed=seed).synthesize_sessions(sessions)


@pytest.fixture(scope="module")
def theirs():
    """Five of aiperf's data sets as one."""
    return [session for seed in SEEDS for session in synthesized(seed)[1]]


@pytest.fixture(scope="module")
def ours():
    """Rows of sessions that lie in a generated trace from first turn to last for certain."""
    agent = CodingAgent(warm_up_s=0.0, restart_gap_mean_s=1.0)
    requests = generate_requests(agent, 80_000, 11)
    order = np.argsort(requests.session, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(requests.session[order])) + 1)
    return agent, requests, [part for part in rows if part[0] < 0.85 * len(requests)]


def check_mean(our, their):
    """Both are samples: four standard errors of the difference."""
    our, their = np.asarray(our, dtype=float), np.asarray(their, dtype=float)
    error = np.hypot(our.std() / our.size**0.5, their.std() / their.size**0.5)
    assert abs(our.mean() - their.mean()) < 4 * error, (our.mean(), their.mean(), error)


def check_quantile(our, their, q):
    our, their = np.asarray(our, dtype=float), np.asarray(their, dtype=float)
    error = (q * (1 - q) * (1 / our.size + 1 / their.size)) ** 0.5
    at = np.quantile(their, q)
    # Whole numbers come in steps: the quantile may lie anywhere within one.
    assert np.mean(our < at) - 4 * error < q < np.mean(our <= at) + 4 * error, (np.quantile(our, q), at)


def test_the_defaults_are_the_manifests():
    config, _ = synthesized(1, 2)
    agent = CodingAgent()
    block = config.block_size
    assert agent.block_tokens == block
    assert agent.shared_prefix_tokens == -(-config.cache.layer1_tokens // block) * block
    assert agent.group_prefix_tokens == -(-config.cache.layer1_5_tokens // block) * block
    groups = config.cache.layer1_5_groups
    assert (agent.groups, agent.group_zipf_exponent) == (groups.num_groups, groups.zipf_alpha)
    for ours, params in (
        ("session_prefix", config.cache.layer2),
        ("new_tokens", config.new_tokens_per_turn),
        ("output_tokens", config.generation_length),
    ):
        found = [getattr(agent, f"{ours}_{key}") for key in ("mu", "sigma", "cap")]
        assert found == pytest.approx([params.mu, params.sigma, params.max], abs=1e-4)
    assert agent.end_probability == config.reset.base_probability
    assert agent.end_context_scaling == config.reset.context_scaling
    assert agent.context_cap_tokens == config.max_prompt_tokens
    assert [agent.restart_turns_min, agent.restart_turns_below] == config.restart_turn_range
    # The share falls linearly from the manifest's to 0 over three quarters of the sessions.
    assert agent.restart_fraction == pytest.approx(config.restart_initial_probability * 0.75 / 2)


def test_turns_per_session(theirs, ours):
    _, _, rows = ours
    turns, their_turns = [len(part) for part in rows], [len(session.turns) for session in theirs]
    check_mean(turns, their_turns)
    for q in (0.25, 0.5, 0.75, 0.95):
        check_quantile(turns, their_turns, q)


def test_restarts_per_session(theirs, ours):
    agent, requests, rows = ours
    first = requests.input_tokens[[part[0] for part in rows]]
    # Of the first prompts of 5 turns and more, none is as short as a restarted one is long: count by what is carried on.
    context = {}
    for part in rows:
        context[int(requests.input_tokens[part[-1]] + requests.output_tokens[part[-1]])] = len(part)
    restarted = sum(
        tokens in context and agent.restart_turns_min <= context[tokens] < agent.restart_turns_below
        for tokens in first.tolist()
    )
    their_restarts = sum(session.is_restart_continuation for session in theirs)
    share, theirs_share = restarted / (len(rows) - restarted), their_restarts / (len(theirs) - their_restarts)
    error = (theirs_share * (1 / len(rows) + 1 / len(theirs))) ** 0.5
    # A first prompt may have the length of another session's last context by chance: once in some two hundred.
    assert share == pytest.approx(theirs_share, abs=4 * error + 0.005)


def test_first_prompts(theirs, ours):
    _, requests, rows = ours
    first = requests.input_tokens[[part[0] for part in rows]]
    their_first = [session.turns[0].input_length for session in theirs]
    check_mean(first, their_first)
    for q in (0.01, 0.25, 0.5, 0.75, 0.99):
        check_quantile(first, their_first, q)


def test_prompts_new_tokens_and_answers_of_turns(theirs, ours):
    _, requests, rows = ours
    all_rows = np.concatenate(rows)
    prompts, outputs = requests.input_tokens, requests.output_tokens
    their_turns = [turn for session in theirs for turn in session.turns]
    # Turns of one session are not independent: their prompts count once a session.
    check_mean([prompts[part].mean() for part in rows], [np.mean([t.input_length for t in s.turns]) for s in theirs])
    check_mean(outputs[all_rows], [turn.output_length for turn in their_turns])
    new = np.concatenate([prompts[part[1:]] - prompts[part[:-1]] - outputs[part[:-1]] for part in rows])
    their_new = [turn.new_tokens for session in theirs for turn in session.turns[1:]]
    check_mean(new, their_new)
    for q in (0.05, 0.5, 0.95, 0.99):
        check_quantile(new, their_new, q)
        check_quantile(outputs[all_rows], [turn.output_length for turn in their_turns], q)


def test_delays_between_turns(theirs, ours):
    agent, requests, rows = ours
    done_s = requests.arrival_s + agent.nominal_ttft_s + agent.nominal_tpot_s * (requests.output_tokens - 1)
    delay_s = np.concatenate([requests.arrival_s[part[1:]] - done_s[part[:-1]] for part in rows])
    their_delay_s = [turn.delay_ms / 1000 for session in theirs for turn in session.turns[1:]]
    check_mean(delay_s, their_delay_s)
    for q in (0.05, 0.5, 0.95):
        check_quantile(delay_s, their_delay_s, q)


def test_the_reader_makes_of_aiperfs_file_the_prompts_aiperf_meant(tmp_path):
    from aiperf.dataset.agentic_code_gen.writer import _write_jsonl

    config, sessions = synthesized(42, 200)
    path = tmp_path / "dataset.jsonl"
    _write_jsonl(sessions, path, config.block_size)
    requests = read_requests(path, options=ReadOptions(sessions="delta"))
    turns = [(number, turn) for number, session in enumerate(sessions) for turn in session.turns]
    assert len(requests) == len(turns)
    assert requests.input_tokens.tolist() == [turn.input_length for _, turn in turns]
    assert requests.output_tokens.tolist() == [turn.output_length for _, turn in turns]
    assert requests.delay_s == pytest.approx([turn.delay_ms / 1000 for _, turn in turns], abs=5.1e-5)
    assert requests.session.tolist() == [number for number, _ in turns]
    # First prompts share what aiperf says they share.
    first = {number: row for row, (number, turn) in reversed(list(enumerate(turns))) if turn.turn_index == 0}
    for number in range(1, 40):
        one, two = requests.blocks(first[0]), requests.blocks(first[number])
        theirs_one, theirs_two = sessions[0].turns[0].hash_ids, sessions[number].turns[0].hash_ids
        whole = min(int(requests.input_tokens[first[0]]), int(requests.input_tokens[first[number]])) // 512
        assert (one[:whole] == two[:whole]).tolist() == [
            a == b for a, b in zip(theirs_one[:whole], theirs_two[:whole], strict=True)
        ]
    # Read as independent prompts the same file would say a fifteenth of it.
    with path.open() as handle:
        assert sum(1 for _ in handle) == len(turns)
    mean_new = np.mean([turn.new_tokens for _, turn in turns])
    assert requests.input_tokens.mean() > 10 * mean_new
