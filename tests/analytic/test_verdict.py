"""What is said of figures that are set by hand: losses before gains, noise before either, published beside found."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from zcube.inputs import bundled_folder
from zcube.scenario import load_scenario
from zcube.verdict.headline import headline
from zcube.verdict.knees import knee_rule, knee_sentences
from zcube.verdict.limits import THRESHOLDS, limit_sentence, limits
from zcube.verdict.published import PUBLISHED, published, published_sentences
from zcube.verdict.table import ROWS
from zcube.verdict.verdict import verdict

NODES = (4, 2)


def fabric(family: str, *, output: float = 1000.0, ttft_s: float = 2.0, transfer_s: float = 0.1, usd: float = 300.0) -> Any:
    return {
        "family": family,
        "decode_engine": "batched",
        "routing": "ecmp",
        "requests": {"offered": 500, "completed": 500, "rejected": 0, "unfinished": 0},
        "throughput": {"output_tokens_per_s": output},
        "window": {"no_rate": None, "unsteady": None},
        "littles_law": {"steady": True},
        "ttft_s": {"mean": ttft_s / 2, "p99": ttft_s},
        "kv_transfer_s": {"mean": transfer_s},
        "congestion": {"type1_slowdown": 1.0, "type2_slowdown": 1.0},
        "occupancy": {
            "prefill": {"busy": 0.3, "blocked": 0.0, "short_of_memory": 0.0, "reading": 0.0, "waiting": 0.0, "growth": 0.0},
            "decode": {"batch": 0.3, "kv_memory": 0.2, "in_transfer": 0.1, "waited": 0.0, "waiting": 0.0, "growth": 0.0},
            "busiest_nic": 0.1, "busiest_nic_port": 0.1, "busiest_switch_link": 0.1,
        },
        "network": {"queue_pairs": 1},
        "bill": {"total_usd": usd},
        "noise": None,
    }  # fmt: skip


def document(cube: Any, tree: Any = None, fidelity: str = "flow") -> dict[str, Any]:
    fabrics = {"tree": tree or fabric("spine-leaf"), "cube": cube}
    return {"baseline": "tree", "fidelity": fidelity, "fabrics": fabrics, "compute": {"stated_error": {}}}


def noisy(cube: Any, differs: bool | None) -> Any:
    keys = ("throughput.output_tokens_per_s", "ttft_s.p99", "kv_transfer_s.mean")
    return cube | {"noise": {key: {"differs": differs} for key in keys}}


def heads(sentence: str) -> list[str]:
    """Return the heads of a headline's parts, in order, without the counts of requests that it ends with."""
    *told, last = sentence.split("; ")
    assert last == "requests: 0 rejected, 0 failed, 0 unfinished of 500 on both."
    return [part.split(": ")[-2] for part in told]


def test_losses_come_first_and_gains_last():
    cube = noisy(fabric("zcube", output=900.0, ttft_s=1.0, usd=200.0), True)
    (sentence,) = headline(document(cube))
    assert heads(sentence) == ["loses", "no difference", "gains"]
    assert sentence.startswith("cube against tree: loses: output throughput 10.0 % less (900.0 and 1,000 tok/s); ")
    assert "; gains: P99 time to first token 50.0 % less (1.000 and 2.000 s), switches and switch-side optics 33.3 % less " \
           "(200 and 300 USD); requests: " in sentence  # fmt: skip


@pytest.mark.parametrize(("noise", "word"), [("one", "(one seed)"), ("few", "(too few seeds)")])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_no_change_of_a_runs_figures_is_a_gain_or_a_loss_before_noise_is_known(noise, word, factor):
    cube = fabric("zcube", output=1000.0 * factor, ttft_s=2.0 / factor, transfer_s=0.1 / factor, usd=400.0)
    (sentence,) = headline(document(noisy(cube, None) if noise == "few" else cube))
    # The bill is exact and dearer.
    assert heads(sentence) == ["loses", f"not to be told from noise {word}"]
    for row in ROWS:
        told, better = row.against(cube, fabric("spine-leaf"))
        assert better is None or row.section == "Cost", (row.label, told)
    (total,) = [row for row in ROWS if (row.label, row.unit) == ("Total", "USD")]
    assert total.against(cube, fabric("spine-leaf")) == ("+33.3 %", False)


def test_inside_the_interval_is_no_difference():
    (sentence,) = headline(document(noisy(fabric("zcube", output=1100.0, ttft_s=2.2, transfer_s=0.2, usd=300.0), False)))
    assert heads(sentence) == ["no difference"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("prefill", "busy", THRESHOLDS.full), ["prefill"]),
        (("prefill", "busy", THRESHOLDS.full - 1e-9), []),
        (("decode", "batch", 0.95), ["decode"]),
        (("decode", "kv_memory", 0.95), ["kv_memory"]),
        (("decode", "waited", THRESHOLDS.waited), ["decode"]),
        (("", "busiest_nic", 0.9), ["nic"]),
        (("", "busiest_switch_link", 0.9), ["fabric"]),
        # One port of a NIC that is full leaves the other.
        (("", "busiest_nic_port", 1.0), []),
    ],
)
def test_each_resource_limits_from_its_threshold_on(change, expected):
    pool, key, value = change
    run = fabric("zcube")
    (run["occupancy"][pool] if pool else run["occupancy"])[key] = value
    found = limits(run, NODES)
    assert found["full"] == expected
    assert limit_sentence("it", run, found).startswith("Nothing limits") != bool(expected)


def test_a_queue_limits_only_where_it_grows_and_holds_a_request_a_node():
    run = fabric("zcube")
    for waiting, growth, expected in ((4.0, 0.05, ["prefill"]), (3.9, 0.05, []), (400.0, 0.04, [])):
        run["occupancy"]["prefill"].update(waiting=waiting, growth=growth)
        assert limits(run, NODES)["full"] == expected
    # The same at the door of the decode nodes.
    run["occupancy"]["prefill"].update(waiting=0.0, growth=0.0)
    run["occupancy"]["decode"].update(waiting=2.0, growth=0.5)
    assert limits(run, NODES)["full"] == ["decode"]


@pytest.mark.parametrize(("type1", "type2", "expected"), [(3.0, 1.2, ["nic"]), (1.2, 3.0, ["fabric"])])
def test_a_decode_node_that_kv_under_way_fills_is_the_networks(type1, type2, expected):
    run = fabric("zcube", transfer_s=1.0)
    run["occupancy"]["decode"].update(batch=1.0, in_transfer=0.5, waited=1.0)
    run["congestion"] = {"type1_slowdown": type1, "type2_slowdown": type2}
    assert limits(run, NODES)["full"] == expected


def test_the_networks_part_of_the_first_token_follows_from_the_slow_downs():
    run = fabric("zcube", ttft_s=2.0, transfer_s=0.6)
    run["congestion"] = {"type1_slowdown": 2.0, "type2_slowdown": 1.5}
    found = limits(run, NODES)
    # Of a mean of 1 s the last push takes 0.6: 0.2 of it by itself, 0.2 more at NICs, 0.2 more in the fabric.
    assert found["nic_part"] == pytest.approx(0.2) and found["fabric_part"] == pytest.approx(0.2)
    assert found["slowing"] == ["nic", "fabric"] and found["full"] == []
    assert "contention at the NICs and in the fabric delays first tokens" in limit_sentence("it", run, found)


def beside(cube: Any, tree: Any = None, fidelity: str = "flow") -> tuple[dict[str, Any], list[str]]:
    compared = document(cube, tree, fidelity)
    found = published(compared, {name: limits(run, NODES) for name, run in compared["fabrics"].items()})
    return found.get("cube", {}), published_sentences(found)


def test_published_figures_are_those_of_the_source():
    assert {figure.name: figure.change for figure in PUBLISHED} == {"throughput": 0.15, "ttft_p99": -0.406, "cost": -0.33}


def test_another_engine_is_not_set_beside_what_was_published():
    assert beside(fabric("zcube", output=1150.0) | {"decode_engine": "tilert"}) == ({}, [])


def test_what_was_published_stands_beside_no_other_scenario():
    told = verdict(document(fabric("zcube")), NODES, False)
    assert told["published"] == {} and told["sentences"]["published"] == []
    bundled = sorted(path.stem for path in bundled_folder("scenarios").glob("*.toml"))
    assert [stem for stem in bundled if load_scenario(stem).is_published] == ["zai-2026"]
    assert not load_scenario("zai-2026", {"compute.model": "deepseek-v3", "kv.with_mtp_layer": False}).is_published


def test_what_a_run_shows_of_the_published_figures():
    tree = fabric("spine-leaf")
    tree["congestion"] = {"type1_slowdown": 1.0, "type2_slowdown": 4.0}
    found, sentences = beside(noisy(fabric("zcube", output=1150.0, ttft_s=1.2, usd=200.0), True), tree)
    assert [figure["shown"] for figure in found["figures"].values()] == [True, True, True]
    assert found["figures"]["ttft_p99"]["here"] == pytest.approx(-0.4)
    assert found["why"] == [] and len(sentences) == 2


@pytest.mark.parametrize(
    ("output", "differs", "shown"),
    [(1000.0, None, False), (1050.0, True, False), (1080.0, True, True), (1080.0, False, False), (1080.0, None, None),
     (900.0, True, False)],
)  # fmt: skip
def test_half_of_a_published_change_shows_it_and_noise_does_not(output, differs, shown):
    found, _ = beside(noisy(fabric("zcube", output=output), differs))
    assert found["figures"]["throughput"]["shown"] is shown


def test_too_few_seeds_leave_the_change_itself_beside_what_was_published():
    _, sentences = beside(noisy(fabric("zcube", output=1080.0), None))
    assert "mean throughput +8.0 % (not to be told from noise)" in sentences[1] and "unsure" not in sentences[1]


def test_why_a_run_does_not_show_them_is_told_by_its_figures():
    cube = noisy(fabric("zcube"), False)
    _, (*_, why) = beside(cube)
    assert "On tree the fabric slows KV transfers 1.00 times and its busiest link between switches is 10.0 % full" in why
    assert "no congestion in the fabric that another wiring could take away" in why
    assert "load is below capacity" in why and "neither PFC" in why and "ecmp with 1 queue pair a" in why
    # Congestion that is there is stated, not denied; what is full is named.
    tree = fabric("spine-leaf", transfer_s=0.5)
    tree["congestion"] = {"type1_slowdown": 1.0, "type2_slowdown": 2.0}
    tree["occupancy"]["prefill"]["busy"] = 1.0
    _, (*_, why) = beside(cube, tree, "packet")
    assert "slows KV transfers 2.00 times" in why and "25.0 % of the mean time to first token" in why
    assert "no congestion" not in why and "What is full (prefill) does not change" in why and "PFC pauses" not in why
    _, (*_, why) = beside(cube, fidelity="ideal")
    assert why.endswith("The network is ideal, so that no fabric was simulated.")


def test_other_fabrics_have_no_published_figures_beside_them():
    assert beside(fabric("hpn")) == ({}, [])
    assert beside(fabric("zcube"), fabric("hpn")) == ({}, [])


def test_a_missing_price_leaves_the_cost_open():
    found, sentences = beside(fabric("zcube") | {"bill": {"total_usd": None}})
    assert found["figures"]["cost"] == {"published": -0.33, "here": None, "told": "-", "shown": None}
    assert "capital cost of switches and optics -33 %" in sentences[0] and "optics unknown." in sentences[1]


def test_the_parts_come_in_reading_order():
    told = verdict(document(fabric("zcube")), NODES, True)
    assert list(told["sentences"]) == ["headline", "cautions", "limits", "knee", "capacity", "published", "rules"]
    assert told["thresholds"]["full"] == THRESHOLDS.full
    short = copy.deepcopy(document(fabric("zcube")))
    short["fabrics"]["cube"]["window"]["no_rate"] = "12 requests arrived"
    told = verdict(short, NODES, True)
    assert told["limits"]["cube"]["full"] is None and "run too briefly" in told["sentences"]["cautions"][0]


@pytest.mark.parametrize(
    ("points", "said"),
    [((9, 9), []), ((9, 0), ["Compute times of decode moe are"]), ((0, 0), ["Compute times are"])],
)
def test_compute_times_that_nobody_measured_are_a_caution(points, said):
    compared = document(fabric("zcube"))
    errors = zip(("prefill_attention", "decode_moe"), points, strict=True)
    compared["compute"]["stated_error"] = {operation: {"points": count} for operation, count in errors}
    assert verdict(compared, NODES, True)["sentences"]["cautions"] == [
        f"{one} unmeasured: other devices' figures, scaled by data sheets." for one in said
    ]


def knee(status: str, holds: float | None, fails: float | None, **last: Any) -> dict[str, Any]:
    """Return a document of one fabric's knee, searched from 20 requests per second on; ``last`` is the run at ``fails``."""
    probe = {"load": holds, "added": 0.031, "ideal_full": [], "why_not": None}
    runs = [probe, probe | {"load": fails, "added": 0.064} | last]
    return {
        "share": 0.05, "tolerance": 0.1, "seeds": 1, "base_load": 20.0, "unit": "requests/s",
        "fabrics": {"cube": {"status": status, "holds": holds, "fails": fails, "runs": runs}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            knee("found", 30.0, 32.0),
            "it begins to add 5 % to P99 time to first token between 30.00 requests/s (1.50 times this run's load) and 32.00 "
            "requests/s (1.60 times this run's load) (+3.1 % and +6.4 %).",
        ),
        (
            knee("at the lowest", None, 2.5),
            "below 2.500 requests/s (0.125 times this run's load), the lowest load tried, where it adds +6.4 %.",
        ),
        (
            knee("saturated", 30.0, 32.0, added=None, ideal_full=["prefill", "kv_memory"]),
            "it adds less than 5 % to P99 time to first token up to 30.00 requests/s (1.50 times this run's load); at 32.00 "
            "requests/s (1.60 times this run's load) the limit is prefill and KV memory, on an ideal network too.",
        ),
        (
            knee("saturated", None, 2.5, added=None, ideal_full=["nic"]),
            "not to be found; at 2.500 requests/s (0.125 times this run's load) the limit is the NICs, on an ideal network "
            "too.",
        ),
        (
            knee("not reached", 160.0, None),
            "it adds less than 5 % to P99 time to first token up to 160.0 requests/s (8.00 times this run's load), the highest "
            "load tried.",
        ),
        (
            knee("no window", 30.0, 32.0, added=None, why_not="3 requests arrived"),
            "it adds less than 5 % to P99 time to first token up to 30.00 requests/s (1.50 times this run's load); at 32.00 "
            "requests/s (1.60 times this run's load) there is nothing to compare: 3 requests arrived.",
        ),
        (
            knee("out of runs", 20.0, 40.0),
            "between 20.00 requests/s (1.00 times this run's load) and 40.00 requests/s (2.00 times this run's load); the "
            "search ended after 2 loads.",
        ),
        (
            knee("out of runs", 20.0, None),
            "above 20.00 requests/s (1.00 times this run's load); the search ended after 2 loads.",
        ),
        (
            knee("at the lowest", None, 2.5, on_one_side=3),
            "below 2.500 requests/s (0.125 times this run's load), the lowest load tried, where it adds +6.4 % over other "
            "requests.",
        ),
    ],
)
def test_what_is_said_of_a_knee(found, told):
    assert knee_sentences(found) == [f"Knee of cube: {told}"]
    over_others = "; over other requests: some were served on one of the two only" * ("over other" in told)
    assert f"10 % apart or less; 2 loads tried, one seed each, so that noise moves it{over_others}." in knee_rule(found)


def test_noise_beyond_the_share_is_pointed_out():
    found = knee("saturated", 30.0, 32.0, added=-0.116)
    assert knee_rule(found).endswith(
        "at one load the fabric lay 11.6 % below the ideal core, so that noise exceeds the share: use more --seeds."
    )


def test_the_source_and_what_explains_the_baseline_are_told_once():
    compared = document(fabric("zcube"))
    compared["fabrics"]["other"] = fabric("zcube")
    sentences = verdict(compared, NODES, True)["sentences"]["published"]
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "Published", "cube here", "other here", "Why this run does not show all of it",
    ]  # fmt: skip
