"""Which link held a first token up, by hand: both ends' NICs, links between switches, the connector's own rate, none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_by_hand import EXACT, alone_s, close, fabric_of, kv_by_hand, run_by_hand, settings_of, trace_of

from zcube.network.settings import Network
from zcube.serving.attribution import request_table, ttft_parts
from zcube.serving.limiting_links import CLASSES, limiting_link
from zcube.serving.metrics import run_metrics

#: Time between posting and the first byte's arrival makes no difference to sums.
NOTHING = {"requests": 0, "transfer_s": 0.0, "type1_s": 0.0, "type2_s": 0.0}


def carried(trace, settings, fabric="roft-256", **network):
    wired = fabric_of(fabric)
    model = Network.model_validate({"queue_pairs": 1, **network}).on(wired).model()
    return run_by_hand(trace, settings, fabric=fabric, model=model)


def links_of(run):
    return [None if link < 0 else f"{run.links.source[link]}>{run.links.target[link]}" for link in limiting_link(run).tolist()]


def test_two_pushes_into_one_nic_are_held_up_by_it():
    settings = settings_of(
        prefill={"nodes": 2, "layout": "tp8"}, decode={"layout": "tp8"}, kv={"rank_map": "tp8-tilert", "push": "after-prefill"}
    )
    run = carried(trace_of([0.0, 0.0], [6400, 6400], [2, 2]), settings)
    assert len(set(run.journeys.prefill_node.tolist())) == 2 and len(set(run.flows.target.tolist())) == 1
    into = f"s{run.flows.target[0] // 8}g{run.flows.target[0] % 8}"
    assert links_of(run) == [f"leaf{run.flows.target[0] % 8}>{into}"] * 2
    found = run_metrics(run)["ttft_links"]
    wire_s = kv_by_hand(6400) / 50e9
    both = {"requests": 2, "transfer_s": 2 * alone_s(kv_by_hand(6400)), "type1_s": 2 * wire_s, "type2_s": 0.0}
    assert found["by_class"]["nic_in"] == pytest.approx(both, **EXACT)
    assert {name: of for name, of in found["by_class"].items() if name != "nic_in"} == dict.fromkeys(
        set(CLASSES) - {"nic_in"}, NOTHING
    )
    (worst,) = found["links"]
    assert (worst["to"], worst["class"], worst["requests"]) == (into, "nic_in", 2)
    assert request_table(run)["ttft_link"].tolist() == [worst["link"]] * 2


def test_one_senders_pushes_are_held_up_by_its_nic():
    settings = settings_of(decode={"nodes": 2}, prefill={"chunk_tokens": 20_000}, kv={"push": "after-prefill"})
    run = carried(trace_of([0.0, 0.0], [6400, 6400], [2, 2]), settings)
    assert set(links_of(run)) == {f"s{run.flows.source[0] // 8}g0>leaf0"}
    totals = run_metrics(run)["ttft_links"]["by_class"]["nic_out"]
    assert totals["requests"] == 2
    close(totals["type1_s"], sum(ttft_parts(run)["type1"]))
    assert totals["type1_s"] == pytest.approx(2 * kv_by_hand(6400) / 50e9, rel=1e-6)


def test_nobody_held_up_counts_with_its_time_alone():
    run = carried(trace_of([0.0], [6400], [2]), settings_of())
    found = run_metrics(run)["ttft_links"]
    assert sum(of["requests"] for of in found["by_class"].values()) == 1
    assert sum(of["type1_s"] + of["type2_s"] for of in found["by_class"].values()) == pytest.approx(0.0, abs=1e-9)


def test_a_push_below_every_links_rate_is_held_up_by_its_own():
    run = carried(trace_of([0.0], [6400], [2]), settings_of(kv={"efficiency": 0.5}))
    assert links_of(run) == [None]
    found = run_metrics(run)["ttft_links"]
    assert found["by_class"]["none"]["requests"] == 1 and found["links"] == []
    close(found["by_class"]["none"]["transfer_s"], ttft_parts(run)["transfer"][0])


def test_a_link_between_switches_is_told_apart_from_nics():
    run = carried(trace_of([0.0, 0.0], [6400, 6400], [2, 2]), settings_of(prefill={"nodes": 2}))
    trunk = next(link for link, kind in enumerate(run.links.kind) if kind == "switch")
    bound_link = np.where(run.flow_request == 1, trunk, run.completions.bound_link)
    found = run_metrics(replace(run, completions=replace(run.completions, bound_link=bound_link)))["ttft_links"]
    parts = ttft_parts(run)
    expected = {"requests": 1} | {f"{part}_s": parts[part][1] for part in ("transfer", "type1", "type2")}
    assert found["by_class"]["switch"] == pytest.approx(expected)
    assert [link["class"] for link in found["links"] if link["link"] == trunk] == ["switch"]


def test_packets_name_no_link():
    settings = settings_of()
    run = carried(trace_of([0.0], [640], [2]), settings, fidelity="packet")
    assert run_metrics(run)["ttft_links"] is None
    assert request_table(run)["ttft_link"].tolist() == [-1]


def test_what_is_not_carried_has_no_link():
    run = carried(trace_of([0.0, 0.0], [6400, 10**7], [2, 2]), settings_of())
    assert links_of(run)[1] is None
    assert sum(of["requests"] for of in run_metrics(run)["ttft_links"]["by_class"].values()) == 1
