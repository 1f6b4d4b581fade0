"""GraphML through networkx: nodes with a role, links with ports, rate, delay and medium, for graph tools and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.link_list import NO_PORT, LinkList, NodeRole, RawLink, build_link_list
from zcube.fabric.wiring.reading import Faults, read_text


def graph_of(links: LinkList) -> Any:
    """Return a ``networkx.MultiGraph``.

    Nodes are names with a ``role``; edges have ``a`` (the name of end a), ``a_port``, ``b_port``, ``gbps``, ``latency_s`` and
    ``medium``; ports and medium only where they are stated.
    """
    import networkx

    graph = networkx.MultiGraph()
    graph.add_nodes_from((name, {"role": NodeRole(role).name.lower()}) for name, role in zip(links.names, links.roles.tolist()))
    columns = (links.a, links.b, links.a_port, links.b_port, links.gbps, links.latency_s)
    rows = zip(*(column.tolist() for column in columns), links.medium_names())
    for a, b, a_port, b_port, gbps, latency_s, medium in rows:
        stated: dict[str, Any] = {key: port for key, port in (("a_port", a_port), ("b_port", b_port)) if port != NO_PORT}
        stated |= {"medium": medium} if medium else {}
        a_name, b_name = links.names[a], links.names[b]
        graph.add_edge(a_name, b_name, a=a_name, gbps=gbps, latency_s=latency_s, **stated)
    return graph


def graphml_text(fabric: Fabric) -> str:
    """Return the fabric, NVLink included, as GraphML."""
    import networkx

    return "\n".join(networkx.generate_graphml(graph_of(LinkList.of(fabric)), named_key_ids=True)) + "\n"


def read_graphml(path: Path) -> LinkList:
    """Read GraphML whose edges carry ``gbps`` and ``latency_s``, and may carry ``a``, ``a_port``, ``b_port`` and ``medium``.

    In a directed graph a pair of arcs that differ in nothing but their direction is one cable.

    Raises
    ------
    InputError
        If the file is no GraphML, defines XML entities or says something twice; else with every fault, by edge in the order of
        the file: also arcs of a directed graph without an equal one back.
    """
    import networkx

    text = read_text(path)
    # Entities can make a small file large; no GraphML writer uses them.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(Fault(str(path), "an XML document type definition", "GraphML without one"))
    try:
        graph = networkx.read_graphml(io.BytesIO(text.encode()), force_multigraph=True)
    except (networkx.NetworkXError, SyntaxError, ValueError, LookupError, TypeError, AttributeError) as error:
        # ElementTree's ParseError is a SyntaxError that names line and column; an unknown encoding is a LookupError.
        raise InputError(Fault(str(path), str(error) or type(error).__name__, "GraphML")) from error
    faults = Faults(str(path))
    _refuse_repeated(text, faults)
    faults.raise_any()
    links = list(_edges(graph))
    if graph.is_directed():
        links = _paired(graph, links, faults)
    return build_link_list(links, faults, (str(name) for name in graph.nodes))


def _refuse_repeated(text: str, faults: Faults) -> None:
    """Note what stands twice, of which networkx silently keeps the last: a declared key, a node, an edge, a datum of either.

    Also further graphs, of which it reads the first. Edges of other ends may have one number: so networkx writes them.
    """
    # With the sign by which ElementTree parts names, and so networkx: expat refuses a namespace that holds it.
    parser = expat.ParserCreate(namespace_separator="}")
    known: set[tuple[object, ...]] = set()
    under_way: list[set[tuple[object, ...]]] = [set()]
    ordered = False

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal ordered
        kind = name.rpartition("}")[2]
        ordered |= kind == "graph" and attributes.get("edgedefault") == "directed"
        ends = [attributes.get("source", ""), attributes.get("target", "")]
        one = (kind, *(ends if ordered else sorted(ends)))
        own = None if kind == "graph" else attributes.get("key" if kind == "data" else "id")
        if kind == "graph" or (kind in ("key", "node", "edge", "data") and own is not None):
            of = under_way[-1] if kind == "data" else known
            if (*one, own) in of:
                faults.add(parser.CurrentLineNumber, f"a second {kind} {own or ''}".rstrip(), "each once")
            of.add((*one, own))
        under_way.append(set())

    parser.StartElementHandler, parser.EndElementHandler = begin, lambda name: under_way.pop()
    parser.Parse(text.encode(), True)


def _paired(graph: Any, arcs: list[RawLink], faults: Faults) -> list[RawLink]:
    """Return one link for each pair of opposite arcs; note those without their pair."""
    alone: dict[tuple[Any, ...], list[RawLink]] = {}
    cables = []
    for (u, v), arc in zip(graph.edges(), arcs, strict=True):
        ends = tuple(sorted(((arc.a, arc.a_port), (arc.b, arc.b_port))))
        alike = (*ends, arc.gbps, arc.latency_s, arc.medium)
        if opposite := alone.get((v, u, *alike)):
            cables.append(opposite.pop(0))
        else:
            alone.setdefault((u, v, *alike), []).append(arc)
    for arc in (arc for left in alone.values() for arc in left):
        expected = "an equal arc back (rate, delay, ports and medium), or an undirected graph: a cable goes both ways"
        faults.add(arc.place, f"an arc from {arc.a} to {arc.b} of {arc.gbps} Gb/s alone", expected)
    return cables


def _edges(graph: Any) -> Iterator[RawLink]:
    for number, (u, v, data) in enumerate(graph.edges(data=True), 1):
        a, b = (v, u) if data.get("a") == v else (u, v)
        a_port, b_port, medium = (str(data.get(key, "")) for key in ("a_port", "b_port", "medium"))
        gbps, latency_s = (_plain(data.get(key, "")) for key in ("gbps", "latency_s"))
        yield RawLink(f"edge {number} ({a} - {b})", str(a), a_port, str(b), b_port, gbps, latency_s, medium)


def _plain(value: Any) -> str:
    """Return a number in one spelling, so that 400 and 400.0 are equal."""
    try:
        return repr(float(value)) if isinstance(value, int | float) else str(value)
    except OverflowError:
        return "a number of hundreds of digits"
