"""Channel dependencies: P1/P2 cannot deadlock, detours of both kinds can."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.routing.catalog import routing_for
from zcube.routing.claims import check_fabric
from zcube.routing.deadlock import dependencies_of


def all_pairs(fabric):
    source, target = (axis.ravel() for axis in np.indices((fabric.gpus, fabric.gpus)))
    apart = source != target
    return source[apart], target[apart]


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-256", "zcube-n32", "roft-256", "zcube-n16@switch:A3"])
def test_no_cycle(name):
    fabric = load_fabric(name)
    assert dependencies_of(fabric, routing_for(fabric), *all_pairs(fabric)).cycle == ()


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-256"])
def test_detours_of_both_kinds_close_a_cycle_that_is_a_real_ring(name):
    fabric = load_fabric(name)
    routing = routing_for(fabric, "zcube-detours")
    source, target = all_pairs(fabric)
    cycle = np.array(dependencies_of(fabric, routing, source, target).cycle)
    assert len(cycle) >= 4
    assert np.array_equal(fabric.link_target[cycle], fabric.link_source[np.roll(cycle, -1)])
    routes = routing.routes(source, target)
    inner = np.setdiff1d(np.arange(len(routes.link)), routes.first_hop[1:] - 1)
    used = set(zip(routes.link[inner].tolist(), routes.link[inner + 1].tolist(), strict=True))
    assert all(pair in used for pair in zip(cycle.tolist(), np.roll(cycle, -1).tolist(), strict=True))


def test_claims_name_a_witness():
    fabric = load_fabric("zcube-n16", ["nic:s0g0"])
    claims = {claim.name: claim for claim in check_fabric(fabric, routing_for(fabric, "zcube-detours"))}
    assert claims["port budget"].holds and claims["duplex links"].holds and claims["well-formed paths"].holds
    assert claims["connected"].holds is False and "s0g0" in claims["connected"].evidence
    assert claims["free of deadlock"].holds is False and "->" in claims["free of deadlock"].evidence


def test_claims_hold_on_zcube_and_count_its_paths():
    fabric = load_fabric("zcube-n16")
    claims = {claim.name: claim for claim in check_fabric(fabric, routing_for(fabric))}
    assert all(claim.holds is not False for claim in claims.values())
    assert claims["number of paths"].evidence == "2 paths, sharing no link"
