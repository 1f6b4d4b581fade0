"""Layered fabrics against the families whose graphs ATOP's hyper-parameters can write down."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.layered import LayeredSpec
from zcube.fabric.families.zcube_levels import ZCubeLevelsSpec
from zcube.inputs import validate
from zcube.plan.search.isomorphism import FabricGraph

SWITCH = {"model": "s", "ports": 64, "port_gbps": 400.0}


def layered(**keys):
    return validate(LayeredSpec, {"switch": SWITCH, **keys}, "test")


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-n32"])
def test_zcube_is_two_joins_of_gpus_and_one_of_switches(name):
    fabric = load_fabric(name)
    n = int(fabric.gpus**0.5)
    joins = [
        {"lower": 0, "upper": 1, "lower_blocks": n, "upper_blocks": n, "links": 1},
        {"lower": 0, "upper": 2, "links": 1},
        {"lower": 1, "upper": 2, "links": n},
    ]
    built = layered(gpus=fabric.gpus, layers=[n, n], joins=joins).build(name)
    for column in fields(fabric.cables):
        np.testing.assert_array_equal(getattr(built.cables, column.name), getattr(fabric.cables, column.name))


def test_zcube_of_three_levels_is_in_the_space():
    n = 4
    joins = [
        {"lower": 0, "upper": 1, "lower_blocks": n * n, "upper_blocks": n * n, "links": 1},
        {"lower": 0, "upper": 2, "lower_blocks": n, "upper_blocks": n, "links": 1},
        {"lower": 0, "upper": 3, "links": 1},
        {"lower": 1, "upper": 2, "lower_blocks": n, "upper_blocks": n, "links": n},
        {"lower": 2, "upper": 3, "lower_blocks": n, "links": n},
    ]
    keys = {"gpus": n**3, "gpus_per_server": 2, "nic_gbps": 600.0}
    built = layered(**keys, layers=[n * n] * 3, joins=joins).build("layered")
    levels = validate(ZCubeLevelsSpec, {"switch": SWITCH, **keys, "n": n, "levels": 3}, "test").build("levels")
    one, other = FabricGraph.of(built), FabricGraph.of(levels)
    assert one.hash() == other.hash()
    assert one.is_same(other)


@pytest.mark.parametrize(
    ("sizes", "targets", "links"),
    [
        ([8], [([1], [1])], 8),  # a ring
        ([8], [([1], [4])], 4),  # across it: the same link from both ends
        ([8], [([1], [1]), ([1], [2]), ([1], [3]), ([1], [4])], 28),  # all of them
        ([4, 2], [([1, 1], [1, 0]), ([1, 1], [0, 1])], 8 + 4),  # a torus
        ([8], [([1], [0])], 0),  # to itself
    ],
)
def test_links_inside_a_layer(sizes, targets, links):
    grid = {"layer": 1, "sizes": sizes, "targets": [{"factor": factor, "offset": offset} for factor, offset in targets]}
    joins = [{"lower": 0, "upper": 1, "lower_blocks": 8, "upper_blocks": 8, "links": 1, "rate_units": 2}]
    fabric = layered(gpus=64, layers=[8], joins=joins, inner=[grid]).build("ring")
    assert len(fabric.cables) == 64 + links + 64


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nic_gbps": 800.0}, "not 400"),
        ({"layers": [3]}, "blocks that part"),
        ({"joins": [{"lower": 0, "upper": 2, "links": 2}]}, "lower before upper"),
        ({"inner": [{"layer": 1, "sizes": [3], "targets": [{"factor": [1], "offset": [1]}]}]}, "product"),
    ],
)
def test_what_does_not_fit_is_refused(change, told):
    keys = {"gpus": 64, "layers": [8], "joins": [{"lower": 0, "upper": 1, "lower_blocks": 8, "upper_blocks": 8, "links": 2}]}
    layered(**keys)
    with pytest.raises(InputError, match=told):
        layered(**(keys | change))
