"""Port numbers against counting cable by cable, and families and structures by name."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.errors import InputError
from zcube.fabric.families import families
from zcube.fabric.families.dragonfly import DragonflyStructure
from zcube.fabric.families.zcube import ZCubeStructure
from zcube.fabric.model import Fabric
from zcube.fabric.port_numbers import first_free_port, links_per_port, numbered_ports
from zcube.inputs import validate
from zcube.routing.bcube_paths import BCubePaths
from zcube.routing.dragonfly_paths import DragonflyPaths
from zcube.routing.policy import needed_structure
from zcube.routing.zcube_paths import ZCubePaths


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40))
def test_ports_are_counted_by_node(ends: list[tuple[int, int]]) -> None:
    node = np.array([node for node, _ in ends], dtype=np.int64)
    seen: Counter[int] = Counter()
    listed = []
    for one in node.tolist():
        listed.append(seen[one])
        seen[one] += 1
    assert numbered_ports(node).tolist() == listed
    order = np.array([order for _, order in ends], dtype=np.int64)
    ranked = [sum((key, at) < (ends[place][1], place) and one == ends[place][0] for at, (one, key) in enumerate(ends))
              for place in range(len(ends))]  # fmt: skip
    assert numbered_ports(node, order).tolist() == ranked


@given(st.integers(0, 200), *[st.sampled_from([50.0, 100.0, 200.0, 400.0]) for _ in range(2)])
def test_a_block_of_another_rate_begins_on_a_whole_free_port(used: int, used_gbps: float, gbps: float) -> None:
    native = 400.0
    first = first_free_port(used, used_gbps, gbps, native)
    begins = Fraction(first, int(links_per_port(native, gbps)))
    assert begins.denominator == 1
    assert begins >= Fraction(used, int(links_per_port(native, used_gbps))) > begins - 1


SWITCH = {"model": "x", "ports": 64, "port_gbps": 400}


def test_a_family_answers_to_its_own_name_alone() -> None:
    for name, spec in families().items():
        assert spec.family_name() == name
    assert families()["bcube"](gpus=64, switch=SWITCH).build("b").family == "bcube"
    validate(families()["bcube"], {"family": "bcube", "gpus": 64, "switch": SWITCH}, "test")
    with pytest.raises(InputError, match=r"family.*'zcube'.*'bcube'"):
        validate(families()["bcube"], {"family": "zcube", "gpus": 64, "switch": SWITCH}, "test")


def fabrics() -> dict[str, Fabric]:
    return {
        "bcube": families()["bcube"](gpus=64, switch=SWITCH).build("b"),
        "dragonfly": families()["dragonfly"](gpus=72, gpus_per_switch=2, switch=SWITCH).build("d"),
        "zcube": families()["zcube"](gpus=64, switch=SWITCH).build("z"),
        "spine-leaf": families()["spine-leaf"](gpus=64, switch=SWITCH).build("r"),
    }


def test_routings_ask_for_the_structure_and_not_for_the_name() -> None:
    built = fabrics()
    assert needed_structure(built["dragonfly"], DragonflyStructure, "x") == DragonflyStructure(2, 4, 2, 9)
    assert needed_structure(built["zcube"], ZCubeStructure, "x") == ZCubeStructure(8, 8, 8, 1, "plain")
    for policy, fitting in ((BCubePaths, "bcube"), (DragonflyPaths, "dragonfly")):
        for family, fabric in built.items():
            if family == fitting:
                policy(fabric)
            else:
                with pytest.raises(InputError, match=r"routing.*Structure, or another policy"):
                    policy(fabric)
    pair = np.array([0]), np.array([40])
    with pytest.raises(InputError, match="ZCubeStructure"):
        ZCubePaths(built["bcube"], last_resort=BCubePaths(built["bcube"])).routes(*pair)
