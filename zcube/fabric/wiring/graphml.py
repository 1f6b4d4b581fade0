"""GraphML through networkx: nodes with a role, links with ports, rate, delay and medium, for graph tools and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

    Raises
    ------
    InputError
        If the file is no GraphML or defines XML entities; else with every fault, by edge in the order of the file.
    """
    import networkx

    text = read_text(path)
    # Entities can make a small file large; no GraphML writer uses them.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(Fault(str(path), "an XML document type definition", "GraphML without one"))
    try:
        graph = networkx.read_graphml(io.BytesIO(text.encode()), force_multigraph=True)
    except (networkx.NetworkXError, SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
        # ElementTree's ParseError is a SyntaxError that names line and column.
        raise InputError(Fault(str(path), str(error) or type(error).__name__, "GraphML")) from error
    return build_link_list(_edges(graph), Faults(str(path)), (str(name) for name in graph.nodes))


def _edges(graph: Any) -> Iterator[RawLink]:
    for number, (u, v, data) in enumerate(graph.edges(data=True), 1):
        a, b = (v, u) if data.get("a") == v else (u, v)
        cells = (str(data.get(key, "")) for key in ("a_port", "b_port", "gbps", "latency_s", "medium"))
        a_port, b_port, *rest = cells
        yield RawLink(f"edge {number} ({a} - {b})", str(a), a_port, str(b), b_port, *rest)
