"""Arrangements of leaves, spines and cores: cheapest by enumeration, wired as counted, never dearer for a larger ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zcube.fabric.families.arrangement import Demand, Sizes, cheapest
from zcube.fabric.families.planes import MultiPlaneSpec, RailOnlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.ports import native_ports_used

RATIOS = st.one_of(st.sampled_from([1.0, 4 / 3, 1.5, 2.0, 3.0, 4.0, 7.0]), st.floats(1.0, 12.0))


def demands(most_radix: int, most_servers: int) -> st.SearchStrategy[Demand]:
    def demand(servers: int, local: int, rail_optimised: bool, radix: int, ratio: float) -> Demand:
        if rail_optimised:
            return Demand(servers, local, 1, radix, ratio)
        return Demand(servers * local, 1, local, radix, ratio)

    local = st.sampled_from([1, 2, 4, 8])
    return st.builds(demand, st.integers(1, most_servers), local, st.booleans(), st.integers(2, most_radix), RATIOS)


def within(down: int, up: int, ratio: float) -> bool:
    return down <= ratio * up + 1e-6


def two_tiers(demand: Demand) -> Iterator[tuple[int, int]]:
    """Every arrangement of two tiers, by definition: switches and trunk cables."""
    for down in range(demand.whole, demand.radix, demand.whole):
        leaves = math.ceil(demand.ports / down) * demand.rails
        for up in range(1, demand.radix - down + 1):
            for spines in range(1, up + 1):
                even = up % spines == 0 and leaves * up // spines <= demand.radix
                if even and within(down, up, demand.oversubscription):
                    yield leaves + spines, leaves * up


def three_tiers(demand: Demand) -> Iterator[tuple[int, int]]:
    """Every arrangement of three tiers: leaves, pods, spines, spine uplinks, core planes and cores chosen freely."""
    radix = demand.radix
    for down in range(demand.whole, radix, demand.whole):
        leaves = math.ceil(demand.ports / down) * demand.rails
        for up in (up for up in range(1, radix - down + 1) if within(down, up, demand.oversubscription)):
            for in_pod in range(1, leaves + 1):
                pods = math.ceil(leaves / in_pod)
                for spines in (count for count in range(1, up + 1) if up % count == 0):
                    spine_down = in_pod * up // spines
                    for spine_up in range(spine_down, radix - spine_down + 1):
                        for plane in (count for count in range(1, spines + 1) if spines % count == 0):
                            for cores in (count for count in range(1, spine_up + 1) if spine_up % count == 0):
                                if plane * pods * spine_up // cores <= radix:
                                    total = leaves + pods * spines + cores * (spines // plane)
                                    yield total, leaves * up + pods * spines * spine_up


def bill(sizes: Sizes | None) -> tuple[int, int] | None:
    return None if sizes is None else (sizes.switches, sizes.trunks)


def one_leaf(demand: Demand) -> bool:
    return demand.rails == 1 and demand.ports <= demand.radix - demand.radix % demand.whole


@settings(max_examples=300)
@given(demands(most_radix=16, most_servers=40))
def test_no_arrangement_of_two_tiers_is_cheaper(demand: Demand) -> None:
    expected = (1, 0) if one_leaf(demand) else min(two_tiers(demand), default=None)
    assert bill(cheapest(demand)) == expected


@settings(max_examples=200)
@given(demands(most_radix=14, most_servers=40))
def test_no_arrangement_of_three_tiers_is_cheaper(demand: Demand) -> None:
    expected = (1, 0) if one_leaf(demand) else min(three_tiers(demand), default=None)
    assert bill(cheapest(demand, tiers=3)) == expected


@settings(max_examples=300)
@given(demands(most_radix=96, most_servers=600), RATIOS, st.sampled_from([2, 3]))
def test_more_oversubscription_is_never_dearer(demand: Demand, ratio: float, tiers: int) -> None:
    less, more = sorted([demand.oversubscription, ratio])
    before, after = (
        bill(cheapest(Demand(demand.ports, demand.rails, demand.whole, demand.radix, each), tiers)) for each in (less, more)
    )
    if before is not None:
        assert after is not None
        assert after <= before


def built(spec: SpineLeafSpec | RailOnlySpec | MultiPlaneSpec) -> Fabric:
    fabric = spec.build("test")
    assert (native_ports_used(fabric) <= spec.switch.ports).all()
    return fabric


def trunks(fabric: Fabric) -> np.ndarray:
    return np.flatnonzero(fabric.cables.kind == CableKind.SWITCH)


@settings(max_examples=150)
@given(
    st.integers(1, 60),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([8, 12, 16, 32, 64]),
    RATIOS,
    st.booleans(),
    st.sampled_from([2, 3]),
)
def test_what_is_built_has_the_switches_and_links_that_were_counted(
    servers: int, local: int, radix: int, ratio: float, rail_optimised: bool, tiers: int
) -> None:
    """Every port once, no leaf over its ratio, the same links from a switch to each one above it."""
    keys = {"gpus": servers * local, "gpus_per_server": local, "oversubscription": ratio, "rail_optimised": rail_optimised}
    try:
        spec = SpineLeafSpec(**keys, tiers=tiers, switch={"model": "test", "ports": radix, "port_gbps": 400.0})
    except ValidationError:
        return
    fabric, sizes = built(spec), spec.sizes()
    assert (fabric.switches, len(trunks(fabric))) == (sizes.switches, sizes.trunks)
    cables = fabric.cables
    wired = cables.kind != CableKind.NVLINK
    ends = [*zip(cables.a[wired], cables.a_port[wired]), *zip(cables.b[wired], cables.b_port[wired])]
    assert len(set(ends)) == len(ends)
    assert max(port for node, port in ends if node >= fabric.gpus) < radix
    below = np.bincount(cables.b[fabric.nic_cable[:, 0]], minlength=fabric.gpus + fabric.switches)
    for lower in np.unique(cables.a[trunks(fabric)]):
        above = cables.b[trunks(fabric)][cables.a[trunks(fabric)] == lower]
        assert len(set(np.bincount(above)[np.unique(above)])) == 1
        assert within(below[lower], len(above), ratio)


@settings(max_examples=100)
@given(st.integers(1, 120), st.sampled_from([8, 12, 16, 64]), RATIOS, st.sampled_from([1, 2, 4, 8]))
def test_planes_are_never_dearer_for_more_oversubscription(servers: int, radix: int, ratio: float, planes: int) -> None:
    def switches(oversubscription: float) -> int | None:
        keys = {"gpus": 8 * servers, "oversubscription": oversubscription}
        switch = {"model": "test", "ports": radix, "port_gbps": 400.0}
        try:
            return built(MultiPlaneSpec(**keys, planes=planes, switch=switch)).switches
        except ValidationError:
            return None

    before, after = switches(1.0), switches(ratio)
    if before is not None:
        assert after is not None
        assert after <= before


@pytest.mark.parametrize("tiers", [2, 3])
def test_the_search_ends_soon_for_any_size_that_can_be_declared(tiers: int) -> None:
    """By work, not by the clock: the largest clusters on the largest switches, and sizes with awkward divisors."""
    sizes_declared = [(1 << 17, 8, 1), (1 << 20, 1, 1), ((1 << 20) - 1, 1, 1), (1_048_573, 1, 1), (131_071 * 8, 1, 8)]
    for ports, rails, whole in sizes_declared:
        for radix in (2, 3, 64, 127, 4096, 1 << 15):
            for ratio in (1.0, 1.37, 64.0):
                sizes = cheapest(Demand(ports, rails, whole, radix, ratio), tiers)
                assert sizes is None or sizes.leaves * sizes.down >= ports * rails
