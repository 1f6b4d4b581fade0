"""DeepEP's exchanges over nodes: closed forms, and the calibrated figures against measured and published times."""

import sys
from pathlib import Path

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.devices import Exchange, Exchanges, load_device
from zcube.llm.exchanges import exchange_s, low_latency_s, normal_s

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import fit_deepep

GLM = load_card("glm-5.1")
# The benchmarks draw experts evenly over the nodes, of DeepSeek-V3's sizes.
EVEN = fit_deepep.CARD
H200 = load_device("h200").exchanges

# NVIDIA aiconfigurator 0.12, table of SGLang 0.5.6.post2, H200: 128 tokens a GPU over 2, 4 and 8 nodes, microseconds.
LOW_LATENCY_US = {2: (102.1, 186.17), 4: (142.97, 263.27), 8: (166.77, 304.73)}
# The same table, normal mode, 20 SMs: nodes, tokens, dispatch, combine.
NORMAL_US = [(2, 4096, 843.5, 2099), (4, 1024, 497.73, 967.87), (4, 4096, 1801, 3528), (4, 16_384, 6960, 13_578)]


def line(**figures):
    given = {"base_us": 0, "cross_us": 0, "doubling_us": 0, "rail_efficiency": 1, "nvlink_gbytes_per_s": 1e6, "source": "test"}
    return Exchange(**given | figures)


def all_lines(**figures):
    return Exchanges(**dict.fromkeys(Exchanges.model_fields, line(**figures)))


def test_latency_terms():
    figures = line(base_us=10, cross_us=5, doubling_us=2)
    assert [1e6 * exchange_s(figures, nodes, 0, 0, 400) for nodes in (1, 2, 8)] == pytest.approx([10, 17, 21])


def test_slower_of_rail_and_nvlink_decides():
    figures = line(rail_efficiency=0.8, nvlink_gbytes_per_s=200)
    assert exchange_s(figures, 2, 40e9, 100e9, 400) == pytest.approx(1)
    assert exchange_s(figures, 2, 40e9, 300e9, 400) == pytest.approx(1.5)
    assert exchange_s(figures, 2, 40e9, 100e9, 200) == pytest.approx(2)


def test_links_alone_by_hand():
    # 128 tokens, 8 messages each of 7,408 and 14,336 bytes, half, three quarters and seven eighths of them to other nodes.
    for nodes, (dispatch_us, combine_us) in {2: (75.9, 146.8), 4: (113.8, 220.2), 8: (132.7, 256.9)}.items():
        found = low_latency_s(EVEN, all_lines(), nodes, 128, 400)
        assert 1e6 * np.array(found) == pytest.approx([dispatch_us, combine_us], abs=0.1)
        # 15 to 26 % less than was measured.
        assert all(0.74 < 1e6 * s / us < 0.86 for s, us in zip(found, LOW_LATENCY_US[nodes]))
    # Normal mode of GLM-5.1 over four nodes: 2.70 other nodes a token, 6,416 and 12,336 bytes.
    away = 3 * (1 - 0.75**8)
    expected_s = [4096 * away * size / 50e9 for size in (6416, 12_336)]
    assert list(normal_s(GLM, all_lines(), 4, 4096, 400)) == pytest.approx(expected_s)


def test_copies_that_stay_in_the_node():
    slow = all_lines(nvlink_gbytes_per_s=1)
    assert low_latency_s(EVEN, slow, 1, 128, 400).dispatch_s == pytest.approx(128 * 8 * 7 / 8 * 7408 / 1e9)
    ranks = 32 * (1 - (31 / 32) ** 8)
    assert normal_s(EVEN, slow, 4, 100, 400).combine_s == pytest.approx(100 * ranks * 7 / 8 * 14_384 / 1e9)


@pytest.mark.parametrize("nodes", [2, 4, 8])
def test_low_latency_times_measured_on_h200(nodes):
    found = 1e6 * np.array(low_latency_s(EVEN, H200, nodes, 128, 400))
    assert found == pytest.approx(LOW_LATENCY_US[nodes], rel=0.12)


@pytest.mark.parametrize(("nodes", "dispatch_us", "combine_us"), fit_deepep.PUBLISHED)
def test_low_latency_times_published_on_h800(nodes, dispatch_us, combine_us):
    assert 1e6 * np.array(low_latency_s(EVEN, H200, nodes, 128, 400)) == pytest.approx([dispatch_us, combine_us], rel=0.12)


@pytest.mark.parametrize(("nodes", "tokens", "dispatch_us", "combine_us"), NORMAL_US)
def test_normal_times_measured_on_h200(nodes, tokens, dispatch_us, combine_us):
    assert 1e6 * np.array(normal_s(EVEN, H200, nodes, tokens, 400)) == pytest.approx([dispatch_us, combine_us], rel=0.12)


def test_share_of_line_rate_depends_on_the_routing_it_is_counted_with():
    # Over four nodes, 4,096 tokens and more: drawn evenly, as the benchmark does, 2.70 other nodes; limited to 4 of 8 groups as
    # DeepSeek-V3's tokens are, 2.18.
    shares = {1: [], 8: []}
    for card in (EVEN, load_card("deepseek-v3.2")):
        for nodes, tokens, *times_us in NORMAL_US:
            if nodes == 4 and tokens >= 4096:
                alone_s = normal_s(card, all_lines(), nodes, tokens, 400)
                shares[card.expert_groups] += [1e6 * s / us for s, us in zip(alone_s, times_us)]
    assert 0.89 < min(shares[1]) < max(shares[1]) < 0.96
    assert 0.72 < min(shares[8]) < max(shares[8]) < 0.77


def test_normal_times_published_on_h800_over_node_counts_left_out():
    # DeepEP's README: 4,096 tokens; GB/s count a token once for every node it reaches, its own too, without headers, and it
    # reaches 3.62 of four nodes and 3.98 of eight (their benchmark draws the four groups that hold its best experts).
    for nodes, reached, rates in ((4, 3.62, (58, 57)), (8, 3.98, (51, 50))):
        away = reached * (nodes - 1) / nodes
        for figures, rate, payload, message in zip((H200.dispatch, H200.combine), rates, (7392, 14_336), (7472, 14_384)):
            published_s = 4096 * reached * payload / (rate * 1e9)
            assert exchange_s(figures, nodes, 4096 * away * message, 0, 400) == pytest.approx(published_s, rel=0.12)


def test_normal_times_of_h800_with_its_nvlink():
    # The same README: over two nodes NVLink decides, which its card was fitted to; four are left out of that.
    exchanges = load_device("h800").exchanges
    for nodes, reached, rates, error in ((2, 1.992, (43, 43), 0.01), (4, 3.6, (58, 57), 0.08)):
        published_s = [4096 * reached * payload / (rate * 1e9) for payload, rate in zip((7392, 14_336), rates)]
        assert normal_s(EVEN, exchanges, nodes, 4096, 400) == pytest.approx(published_s, rel=error)


def test_bad_nodes_and_rates_are_refused():
    for nodes, nic_gbps in ((0, 400), (5000, 400), (2, 0)):
        with pytest.raises(InputError):
            low_latency_s(GLM, H200, nodes, 128, nic_gbps)
        with pytest.raises(InputError):
            normal_s(GLM, H200, nodes, 128, nic_gbps)


# ---- against the whole tables, where the package is installed


@pytest.fixture(scope="module")
def measured(package):
    return {mode: fit_deepep.read(mode) for mode in (fit_deepep.LOW_LATENCY, fit_deepep.NORMAL)}


def test_every_measured_row(measured):
    for mode, rows in measured.items():
        figures = [getattr(H200, name) for name in mode.exchanges]
        assert np.abs(fit_deepep.errors(mode, figures, rows)).max() < 0.12
    assert sorted(set(measured[fit_deepep.LOW_LATENCY][:, 0])) == [1, 2, 4, 8]


def test_bundled_figures_are_the_fit(measured):
    low, normal = fit_deepep.LOW_LATENCY, fit_deepep.NORMAL
    for mode, rows in ((low, np.vstack([measured[low], fit_deepep.published()])), (normal, measured[normal])):
        for name, figures in zip(mode.exchanges, fit_deepep.fit(mode, rows)):
            assert figures.model_dump(exclude={"source"}) == pytest.approx(
                getattr(H200, name).model_dump(exclude={"source"}), rel=0.01
            )


@pytest.mark.parametrize("nodes", [2, 4, 8])
def test_node_counts_left_out_of_the_fit(measured, nodes):
    rows = np.vstack([measured[fit_deepep.LOW_LATENCY], fit_deepep.published()])
    assert np.abs(fit_deepep.left_out(fit_deepep.LOW_LATENCY, rows, nodes)).max() < 0.20


def test_h100_rows_repeat_those_of_h200(measured):
    for mode, rows in measured.items():
        assert np.array_equal(fit_deepep.read(mode, "h100"), rows)
