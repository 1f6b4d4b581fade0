"""The coding-agent generator has the published moments of NVIDIA aiperf's data set.

Published: 1,131 sessions, 13,167 turns (table of the data set's figures), and the quality report of a second run of
1,205 sessions (1,131 first ones and 74 restarted ones) and 14,163 turns. Tolerances are four standard errors, those of
the published sample and of ours together.
"""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.workload.coding_agent import CodingAgent, generate_requests

SESSIONS, TURNS = 1_131, 13_167
# Without a warm-up every session is seen from its first turn on.
PUBLISHED = CodingAgent(warm_up_s=0.0, restart_gap_mean_s=1.0)


@pytest.fixture(scope="module")
def requests():
    return generate_requests(PUBLISHED, 40_000, 7)


@pytest.fixture(scope="module")
def by_session(requests):
    """Rows of each session whose end lies within the trace for certain: those that appear in the first 80 %."""
    order = np.argsort(requests.session, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(requests.session[order])) + 1)
    return [part for part in rows if part[0] < 0.8 * len(requests)]


@pytest.fixture(scope="module")
def new_tokens(requests, by_session):
    prompt, context = requests.input_tokens, requests.input_tokens + requests.output_tokens
    return np.concatenate([prompt[rows[1:]] - context[rows[:-1]] for rows in by_session])


def check_mean(sample, published, published_std, published_count):
    error = np.hypot(published_std / published_count**0.5, sample.std() / sample.size**0.5)
    assert abs(sample.mean() - published) < 4 * error, (sample.mean(), published, error)


def check_quantile(sample, published, q, published_count):
    """The share of our sample below the published quantile is q, within the binomial errors of both."""
    error = (q * (1 - q) * (1 / published_count + 1 / sample.size)) ** 0.5
    assert abs(np.mean(sample < published) - q) < 4 * error, (np.quantile(sample, q), published)


def test_initial_context(requests, by_session):
    initial = requests.input_tokens[[rows[0] for rows in by_session]]
    check_mean(initial, 54_700, 19_350, SESSIONS)
    check_quantile(initial, 47_300, 0.5, SESSIONS)
    check_quantile(initial, 140_000, 0.99, SESSIONS)


def test_new_tokens_per_turn(new_tokens):
    check_mean(new_tokens, 5_758, 5_821, TURNS - SESSIONS)
    check_quantile(new_tokens, 3_883, 0.5, TURNS - SESSIONS)
    check_quantile(new_tokens, 29_600, 0.99, TURNS - SESSIONS)
    assert new_tokens.min() >= 1
    assert new_tokens.max() <= 50_000


def test_outputs(requests):
    outputs = requests.output_tokens
    check_mean(outputs, 991, 746, TURNS)
    check_quantile(outputs, 786, 0.5, TURNS)
    check_quantile(outputs, 3_847, 0.99, TURNS)
    assert outputs.min() >= 30
    assert outputs.max() <= 10_000


def test_turns_per_session(by_session):
    turns = np.array([len(rows) for rows in by_session])
    check_mean(turns, 11.75, 7.66, 1_205)
    check_quantile(turns, 18.5, 0.75, 1_205 / 4)  # a whole number: the published 18 is a step, not a point


def test_delays_between_turns(requests, by_session):
    agent = PUBLISHED
    done_s = requests.arrival_s + agent.nominal_ttft_s + agent.nominal_tpot_s * (requests.output_tokens - 1)
    delay_s = np.concatenate([requests.arrival_s[rows[1:]] - done_s[rows[:-1]] for rows in by_session])
    assert delay_s.min() > -1e-6
    check_mean(delay_s, 7.597, 21.536, 12_958)
    check_quantile(delay_s, 2.0205, 0.5, 12_958)
    check_quantile(delay_s, 31.153, 0.95, 12_958)


def test_sessions_last_as_long_as_published(requests, by_session):
    # aiperf's own estimate at 60 decoded tokens per second: 4.7 minutes on average, published without a deviation.
    end_s = requests.arrival_s + PUBLISHED.nominal_ttft_s + PUBLISHED.nominal_tpot_s * requests.output_tokens
    lasting_s = np.array([end_s[rows[-1]] - requests.arrival_s[rows[0]] for rows in by_session])
    check_mean(lasting_s, 4.7 * 60, lasting_s.std(), 1_205)


def test_request_rate_is_start_rate_times_turns():
    # Campbell: rate = starts per second * turns per first session, restarts included (14,163 / 1,131 published).
    requests = generate_requests(CodingAgent(), 20_000, 3)
    rate_per_s = len(requests) / requests.duration_s
    turns = 14_163 / 1_131
    # Sessions bring their turns in bunches, so counts vary as a compound Poisson number does.
    ours = (turns * (1 + (7.66 / turns) ** 2) / len(requests)) ** 0.5
    published = 7.66 / turns / 1_131**0.5
    assert rate_per_s / (0.2 * turns) == pytest.approx(1, abs=4 * np.hypot(ours, published))


def half_ratio(agent):
    halves = np.zeros(2)
    for seed in range(20):
        arrival_s = generate_requests(agent, 601, seed).arrival_s
        halves += arrival_s[300], arrival_s[600] - arrival_s[300]
    return halves[0] / halves[1]


def test_the_stream_is_stationary_from_the_start():
    # 300 requests in bunches of 17 (mean square over mean of the turns) vary by 24 %, 20 pairs of them by 7.5 %.
    assert half_ratio(CodingAgent()) == pytest.approx(1, abs=0.3)
    # Without a warm-up the stream begins empty and the first half takes much longer.
    assert half_ratio(CodingAgent(warm_up_s=0.0)) > 1.3


def test_a_carried_restart_begins_with_all_that_was_said():
    agent = CodingAgent(restart_fraction=1.0, restart_turns_min=1, restart_turns_below=2, end_probability=0.0)
    requests = generate_requests(agent.model_copy(update={"warm_up_s": 0.0}), 3_000, 5)
    context = requests.input_tokens + requests.output_tokens
    _, first, turns = np.unique(requests.session, return_index=True, return_counts=True)
    singles, restarted = first[turns == 1], first[turns > 1]
    assert restarted.size > 20
    for row in restarted:
        # Other sessions may have the same length by chance; the one restarted also has every whole block in common.
        parents = singles[context[singles] == requests.input_tokens[row]]
        whole = requests.input_tokens[parents] // 512
        shared = [common_blocks(requests.blocks(parent), requests.blocks(row)) for parent in parents]
        assert np.count_nonzero(np.array(shared) == whole) == 1


def common_blocks(one, other):
    length = min(one.size, other.size)
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if differ.size else length


def test_an_initial_restart_falls_back_to_the_first_prompt():
    agent = CodingAgent(
        restart_fraction=1.0,
        restart_turns_min=2,
        restart_turns_below=3,
        restart_context="initial",
        warm_up_s=0.0,
        end_probability=0.0,
        restart_gap_mean_s=0.0,
    )
    requests = generate_requests(agent, 4_000, 5)
    _, first = np.unique(requests.session, return_index=True)
    prompt = requests.input_tokens[first]
    value, count = np.unique(prompt, return_counts=True)
    pairs = value[count == 2]
    assert pairs.size > 20
    for tokens in pairs:
        one, two = (np.flatnonzero(requests.session == requests.session[row]) for row in first[prompt == tokens])
        if len(one) < 2 or len(two) < 2:
            continue
        whole = int(tokens) // 512
        assert requests.blocks(one[0])[:whole].tolist() == requests.blocks(two[0])[:whole].tolist()
        shared = np.intersect1d(requests.blocks(one[1])[whole:], requests.blocks(two[1])[whole:])
        assert shared.size == 0


def test_twenty_thousand_requests_stay_within_bounds():
    requests = generate_requests(CodingAgent(), 20_000, 0)
    assert len(requests) == 20_000
    assert requests.arrival_s[0] == 0
    assert requests.input_tokens.max() < 200_000
    assert requests.first_block[-1] == (-(-requests.input_tokens // 512)).sum()
    # All 63 blocks of the shared prefix are found by any request but the first.
    assert requests.summary().ideal_prefix_hit_fraction > 0.85


@pytest.mark.parametrize("count", [0, -1, 10**7])
def test_absurd_counts_are_refused_before_memory_is_taken(count):
    with pytest.raises(InputError, match="requests"):
        generate_requests(CodingAgent(), count, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"restart_turns_min": 15},
        {"context_cap_tokens": 42_000},
        {"output_tokens_floor": 20_000},
        {"new_tokens_cap": 100},
        {"agentic_fraction": 1.1},
        {"nominal_tpot_s": float("nan")},
        {"session_starts_per_s": 0.0},
        {"no_such_key": 1},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        CodingAgent(**wrong)
