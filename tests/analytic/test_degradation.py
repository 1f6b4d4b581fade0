"""Transfers between servers under one failed switch, against shares worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.network.degradation import Degradation, degradation
from zcube.routing.catalog import routing_for


def degraded(reference: str, rule: str = "nvlink-relay", partners: int = 1) -> Degradation:
    return degradation(load_fabric(reference), lambda one: routing_for(one, fall_back=rule), partners)


def test_a_lost_nic_halves_its_neighbours_and_a_lost_port_takes_a_third() -> None:
    """One leaf holds all of a rail: relayed over the next rail, two GPUs share a NIC in every transfer, twice the time.

    Of two ports one lost is shared by two GPUs: three ports carry what four did, 4/3 of the time; alone on one port, twice.
    """
    for reference, rule, longer in (
        ("roft-256@switch:leaf0", "nvlink-relay", 1.0),
        ("roft-256@switch:leaf7", "second-port", 1.0),
        ("hpn-1024@switch:tor0", "nvlink-relay", 1 / 3),
    ):
        found = degraded(reference, rule)
        assert found.without_path == 0
        assert found.worst - 1.0 == pytest.approx(longer, rel=0.02), (reference, rule)
    # By its second port alone, and behind it more collide on the way between segments.
    assert degraded("hpn-1024@switch:tor0", "second-port").worst >= 2.0 - 0.02
    # On roft-256 every server has a NIC at leaf 0.
    assert degraded("roft-256@switch:leaf0").slower == pytest.approx(1.0, rel=0.02)


def test_without_a_fall_back_transfers_of_the_rail_have_no_path() -> None:
    found = degraded("roft-256@switch:leaf0", "none")
    assert found.without_path == found.transfers == 32
    assert found.document()["slower_mean"] is None


def test_a_failure_that_carries_nothing_slows_nothing() -> None:
    found = degraded("roft-256@nic:s3g1", "nvlink-relay", partners=2)
    assert found.transfers == 64
    # Server 3 sends twice and takes twice.
    assert 2 <= found.slower_transfers <= 4 + 4
    assert np.isfinite(found.worst)


def test_it_refuses_what_has_not_failed_and_partners_there_are_not() -> None:
    with pytest.raises(InputError) as caught:
        degraded("roft-256", partners=32)
    assert len(caught.value.faults) == 2


def test_the_published_order_of_designs_on_small_fabrics(run) -> None:
    """One top-of-rack switch failed, each by its own routing: ZCube, then dual plane, then single-homed rails."""
    references = ["zcube-n32@switch:A0", "hpn-1024@switch:tor0", "roft-1024@switch:leaf0"]
    status, out, err = run("fabric", "degrade", *references, "--partners", 4, "--json")
    assert status == 0, err
    document = json.loads(out)
    slower = [fabric["slower_mean"] for fabric in document["fabrics"]]
    assert slower == sorted(slower)
    assert 0 < slower[0] < slower[-1]
    status, out, err = run("fabric", "degrade", *references[1:2], "--partners", 1)
    assert status == 0
    assert "hpn-1024@switch:tor0" in out
    assert "nvlink-relay" in out


def test_what_is_left_after_a_failure_is_told_by_what_nics_alone_let_through(tmp_path) -> None:
    """A rail's leaf lost: half of the rate on a spine-leaf without oversubscription, whatever the partners' number.

    Behind a fourfold oversubscription most was gone before: it loses less of its own, and is left with less.
    """
    for partners in (1, 4):
        full = degraded("roft-256@switch:leaf0", partners=partners)
        assert full.share_after == pytest.approx(0.5, rel=0.03)
    path = tmp_path / "narrow.toml"
    path.write_text(
        'family = "spine-leaf"\ngpus = 256\noversubscription = 4.0\n'
        'switch = { model = "25.6T", ports = 64, port_gbps = 400.0 }\n'
    )
    narrow = degraded(f"{path}@switch:leaf0", partners=4)
    assert narrow.share_after <= full.share_after
    none = degraded("roft-256@switch:leaf0", "none")
    assert (none.share_after, none.rate_lost) == (0.0, 1.0)
