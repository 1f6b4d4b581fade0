#!/usr/bin/env bash
# infragraph 3.1.0: an edge of scheme one2one between unequal numbers of ends leaves out those that are over, without a word.
#
# The schema says of one2one only that it is "the scheme that will be used to create edges between the endpoints"; the service
# that makes a document's graph zips both sides, so that eight NICs joined to five ports give five cables. A document that names
# a slice too short, or a switch with too few ports, is validated and drawn with NICs that nothing is plugged into. A reader
# that wants every cable of a document must compare the lengths itself.
#
# Seen: infragraph 3.1.0: 8 NICs to 8 ports: 8 edges; 8 NICs to 5 ports: 5 edges, no error, no warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
  infragraph==3.1.0 networkx==3.6.1 PyYAML==6.0.4 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 \
  idna==3.20 urllib3==2.8.0 grpcio==1.85.3 protobuf==7.36.2 semantic-version==2.10.0 typing_extensions==4.16.0 \
  pydantic==2.14.4 pydantic_core==2.50.5 annotated-types==0.8.0 typing-inspection==0.4.5
cat > "$work/look.py" <<'PY'
import warnings
from importlib.metadata import version

from infragraph import Infrastructure
from infragraph.infragraph_service import InfraGraphService


def cables(nics, ports):
    """Return the edges between a host of so many NICs and a box of so many ports, joined one2one."""
    document = Infrastructure(name="two")
    for name, part, choice, count in (("host", "nic", "nic", nics), ("box", "port", "port", ports)):
        device = document.devices.add(name=name)
        device.components.add(name="core", count=1).choice = "cpu"
        device.components.add(name=part, count=count).choice = choice
        device.links.add(name="inside")
        edge = device.edges.add(scheme="many2many", link="inside")
        edge.ep1.component, edge.ep2.component = "core", part
        document.instances.add(name=name, device=name, count=1)
    document.links.add(name="eth")
    edge = document.edges.add(scheme="one2one", link="eth")
    edge.ep1.instance, edge.ep1.component, edge.ep2.instance, edge.ep2.component = "host", "nic", "box", "port"
    service = InfraGraphService()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        service.set_graph(document.serialize("json"))
    found = sum(data["link"] == "eth" for _, _, data in service.get_networkx_graph().edges(data=True))
    return found, len(told)


even, uneven = cables(8, 8), cables(8, 5)
print(f"infragraph {version('infragraph')}: 8 NICs to 8 ports: {even[0]} edges; 8 NICs to 5 ports: {uneven[0]}, {uneven[1]} warnings")
assert (even, uneven) == ((8, 0), (5, 0))
PY
"$work/venv/bin/python" "$work/look.py"
