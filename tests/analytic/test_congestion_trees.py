"""Congestion trees: of pause logs written by hand, of logs at random, and of a network whose congested port is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_networks import Network, flows, run

from zcube.network.packet.counts import PauseLog
from zcube.report.congestion_tree import CongestionTree, congestion_trees, most_paused, tree_rows, tree_text

LINKS = 12
SOURCE, TARGET = [f"n{link}" for link in range(LINKS)], [f"m{link}" for link in range(LINKS)]


def pause_log(*rows: tuple[int, int, int, float]) -> PauseLog:
    """Pauses as link, cause, root, seconds, one after the other."""
    link, cause, root, taken_s = (np.array(column) for column in zip(*rows)) if rows else (np.zeros(0, dtype=int),) * 4
    until_s = np.cumsum(taken_s)
    return PauseLog(until_s - taken_s, until_s, link, np.zeros_like(link), cause, root, 0)


def trees_of(*rows: tuple[int, int, int, float], most: int = 99) -> tuple[CongestionTree, ...]:
    return congestion_trees(pause_log(*rows), SOURCE, TARGET, most)


def parents(tree: CongestionTree) -> dict[int, int]:
    """Link of the cause of every port but the root, by link."""
    return {port.link: tree.ports[port.cause].link for port in tree.ports[1:]}


def test_a_chain_hangs_link_by_link_below_the_congested_port() -> None:
    (tree,) = trees_of((3, 2, 0, 1.0), (1, 0, 0, 4.0), (2, 1, 0, 2.0), (1, 0, 0, 0.5), (4, 1, 0, 0.25))
    assert tree.root.link == 0
    assert parents(tree) == {1: 0, 2: 1, 3: 2, 4: 1}
    assert {port.link: port.layer for port in tree.ports} == {0: 0, 1: 1, 2: 2, 3: 3, 4: 2}
    assert {port.link: (port.paused_s, port.pauses) for port in tree.ports} == {
        0: (0.0, 0),
        1: (4.5, 2),
        2: (2.0, 1),
        3: (1.0, 1),
        4: (0.25, 1),
    }
    assert (tree.paused_s, tree.pauses, tree.share, tree.behind, tree.layers) == (7.75, 5, 1.0, "", 3)


def test_trees_come_by_paused_time_and_a_root_paused_for_another_says_so() -> None:
    first, second = trees_of((1, 0, 0, 1.0), (5, 4, 4, 3.0), (4, 6, 0, 0.5))
    assert (first.root.link, first.share) == (4, pytest.approx(3 / 4.5))
    assert (first.root.paused_s, first.behind) == (0.5, "n0>m0")
    assert (second.root.link, second.root.paused_s) == (0, 0.0)
    assert [tree.root.link for tree in trees_of((1, 0, 0, 1.0), (5, 4, 4, 3.0), most=1)] == [4]


def test_a_port_with_two_causes_stands_below_the_one_it_waited_for_longest() -> None:
    (tree,) = trees_of((1, 0, 0, 5.0), (2, 0, 0, 4.0), (3, 1, 0, 1.0), (3, 2, 0, 2.0))
    assert parents(tree)[3] == 2
    port = next(port for port in tree.ports if port.link == 3)
    assert (port.paused_s, port.by_cause_s, port.pauses) == (3.0, 2.0, 2)
    assert "n3>m3  3 s in 2 pauses, 1 s of it for other ports" in tree_text([tree])


def test_a_ring_of_pauses_ends() -> None:
    (tree,) = trees_of((1, 0, 0, 1.0), (2, 1, 0, 1.0), (0, 2, 0, 1.0))
    assert parents(tree) == {1: 0, 2: 1}
    assert tree.root.paused_s == 1.0
    apart = next(tree for tree in trees_of((2, 1, 5, 1.0), (1, 2, 5, 2.0)) if tree.root.link == 5)
    assert sorted(port.link for port in apart.ports) == [1, 2, 5]


def test_a_port_between_that_was_paused_for_another_root_only_is_kept() -> None:
    tree = next(tree for tree in trees_of((3, 2, 0, 1.0), (2, 1, 1, 5.0), (1, 0, 0, 0.5)) if tree.root.link == 0)
    assert parents(tree) == {1: 0, 2: 1, 3: 2}
    between = next(port for port in tree.ports if port.link == 2)
    assert (between.paused_s, between.by_cause_s) == (0.0, 0.0)
    assert "    n2>m2  not paused for it\n" in tree_text([tree])


def test_what_waited_for_other_roots_only_stays_out() -> None:
    """Port 1 is in both chains; port 2 waited for it while 1 was itself the root."""
    trees = {tree.root.link: tree for tree in trees_of((1, 0, 0, 2.0), (2, 1, 1, 3.0), (3, 2, 1, 1.0), (4, 1, 0, 0.5))}
    assert parents(trees[0]) == {1: 0, 4: 1}
    assert parents(trees[1]) == {2: 1, 3: 2}


def test_a_cause_that_is_not_in_the_log_hangs_at_the_root() -> None:
    (tree,) = trees_of((3, 2, 0, 1.0))
    assert parents(tree) == {2: 0, 3: 2}


@given(
    st.lists(st.tuples(*[st.integers(0, LINKS - 1)] * 3, st.floats(1e-9, 1e-3)), min_size=1, max_size=60),
    st.integers(1, LINKS),
    st.sampled_from([None, 0, 1, 3]),
)
@settings(max_examples=150)
def test_any_log_gives_trees_in_which_every_paused_port_stands_once(rows: list[Any], most: int, layers: int | None) -> None:
    trees = trees_of(*rows)
    assert {tree.root.link for tree in trees} == {root for _, _, root, _ in rows}
    assert sum(tree.share for tree in trees) == pytest.approx(1.0)
    for tree in trees:
        links = [port.link for port in tree.ports]
        own = [(link, taken_s) for link, _, root, taken_s in rows if root == tree.root.link]
        assert len(set(links)) == len(links)
        assert {link for link, _ in own} <= set(links)
        itself_s = sum(taken_s for link, taken_s in own if link == tree.root.link)
        assert sum(port.paused_s for port in tree.ports[1:]) + itself_s == pytest.approx(tree.paused_s)
        for place, port in enumerate(tree.ports[1:], start=1):
            assert 0 <= port.cause < place
            assert port.layer == tree.ports[port.cause].layer + 1
        shown, hidden = most_paused(tree, most, layers)
        assert shown[0] == 0 and len(shown) <= most
        assert all(tree.ports[place].cause in shown for place in shown[1:])
        assert layers is None or all(tree.ports[place].layer <= layers for place in shown)
        assert len(shown) + sum(rest.ports for rest in hidden.values()) == len(links)
        missed_s = sum(port.paused_s for place, port in enumerate(tree.ports) if place not in shown)
        assert sum(rest.paused_s for rest in hidden.values()) == pytest.approx(missed_s)


def test_the_text_indents_by_layer_and_counts_what_it_leaves_out() -> None:
    rows = [(1, 0, 0, 4.0), (2, 1, 0, 2.0), (3, 1, 0, 0.2), (4, 1, 0, 0.1), (5, 0, 0, 1.0), (6, 0, 0, 0.3)]
    assert tree_text(trees_of(*rows), most=3).splitlines() == [
        "n0>m0 congested: 7.6 s in 6 pauses of 6 ports, 100.0% of all",
        "  n1>m1  4 s in 1 pause",
        "    n2>m2  2 s in 1 pause",
        "    2 more, 300 ms in all",
        "  n5>m5  1 s in 1 pause",
        "  1 more, 300 ms in all",
    ]


def test_no_pause_gives_no_tree() -> None:
    assert trees_of() == ()
    assert tree_rows(()) == []
    assert tree_text(()) == "No port was paused.\n"


def test_rows_name_ports_and_their_causes() -> None:
    rows = tree_rows(trees_of((1, 0, 0, 4.0), (2, 1, 0, 2.0), (8, 7, 7, 1.0)))
    assert [(row["tree"], row["port"], row["cause_port"], row["from"], row["to"], row["layer"]) for row in rows] == [
        (1, 0, None, "n0", "m0", 0),
        (1, 1, 0, "n1", "m1", 1),
        (1, 2, 1, "n2", "m2", 2),
        (2, 0, None, "n7", "m7", 0),
        (2, 1, 0, "n8", "m8", 1),
    ]
    assert [row["paused_s"] for row in rows] == [0.0, 4.0, 2.0, 0.0, 1.0]


def test_names_from_outside_neither_break_lines_nor_run_on() -> None:
    text = tree_text(congestion_trees(pause_log((1, 0, 0, 1.0)), ["a\nb\x1b[31m", "x" * 9999], ["c\u202e", " "]))
    assert text.isprintable() is False and text.count("\n") == 2
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) < 120


def test_a_slow_last_link_is_the_root_of_all_that_stands_before_it() -> None:
    """Three hosts on one switch send by a fast link to a second switch, whose link to the receiver is slow."""
    network = Network(("h1", "a"), ("h2", "a"), ("h3", "a"), ("a", "b", 1600.0), ("b", "h0", 100.0))
    for host in (1, 2, 3):
        network.path(f"h{host}", "a", "b", "h0")
    model = network.model(pfc_threshold="static", xoff_bytes=64 * 1024)
    run(model, flows(*((host, 0, 2_000_000) for host in (1, 2, 3))))
    log, source, target = model.pause_log(), model.link_set.source, model.link_set.target
    tree = congestion_trees(log, source, target)[0]
    assert tree.root.name == "b>h0"
    assert tree.share > 0.9
    names = {port.link: port.name for port in tree.ports}
    above = {names[link]: names[cause] for link, cause in parents(tree).items()}
    assert above == {"a>b": "b>h0", "h1>a": "a>b", "h2>a": "a>b", "h3>a": "a>b"}
    paused_s = {f"{a}>{b}": time_s for a, b, time_s in zip(source, target, model.queue_table().paused_s)}
    middle = next(port for port in tree.ports if port.name == "a>b")
    assert middle.paused_s == pytest.approx(paused_s["a>b"])
