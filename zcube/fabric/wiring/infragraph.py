"""Infragraph documents (infragraph.dev, Keysight and MLCommons) read as fabrics: devices, their instances, edges between them.

The schema is that of the released package ``infragraph`` 3 (schema/infrastructure.yaml and what it includes), as JSON; YAML is
read where PyYAML is installed. An end of an edge names an instance and a component, each with the indices of a Python slice,
``server[0:4]``; without one it is all of them. ``one2one`` joins the ends in their order, ``many2many`` each with each.

An instance of a device with ``xpu`` components is so many servers; every other is switches, each named by its instance and
index. A NIC, by its component's first index, is of the GPU that an edge of the device joins it to, else of that at its place
if NICs are evenly many a GPU. A switch component that all GPUs of a device are joined to by a link of stated bandwidth is
their NVSwitch. A link between devices must state its bandwidth; one without latency has :data:`LATENCY_S`. Ports are numbered
where the links of one rate of a device all use one component.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from zcube.errors import Fault, InputError
from zcube.fabric.wiring.link_list import LinkList, RawLink, build_link_list
from zcube.fabric.wiring.reading import MAX_ROWS, Faults, read_text
from zcube.inputs import json_document, validate
from zcube.yaml_text import yaml_document

#: Delay of a link that states none: a switch hop of published topologies (SimAI: 0.0005ms).
LATENCY_S = 5e-7
MAX_DEVICES = 1 << 14
#: Ends of edges that slices stand for, in all.
MAX_EXPANDED = 2 * MAX_ROWS

_SLICED = re.compile(r"(?P<name>[^\[\]]{1,200}?)(?:\[(?P<slice>[\d:+-]{0,40})\])?", re.ASCII)
_SLICE = re.compile(r"(?P<one>-?\d{1,9})|(?P<start>-?\d{1,9})?:(?P<stop>-?\d{1,9})?(?::(?P<step>-?\d{1,9})?)?|", re.ASCII)
_SECONDS = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Count = Annotated[int, Field(ge=0, le=MAX_ROWS)]


class _Component(_Part):
    name: _Name
    count: _Count
    choice: str


class _Quantity(_Part):
    choice: str | None = None
    gigabits_per_second: float | None = None
    gigabytes_per_second: float | None = None
    gigatransfers_per_second: float | None = None
    ms: float | None = None
    us: float | None = None
    ns: float | None = None


class _Physical(_Part):
    bandwidth: _Quantity | None = None
    latency: _Quantity | None = None


class _Link(_Part):
    name: _Name
    physical: _Physical | None = None


class _End(_Part):
    component: _Name
    instance: _Name | None = None
    device: _Name | None = None


class _Edge(_Part):
    ep1: _End
    ep2: _End
    link: _Name
    scheme: Literal["one2one", "many2many"] | None = None


class _Device(_Part):
    name: _Name
    components: tuple[_Component, ...] = Field(default=(), max_length=MAX_DEVICES)
    links: tuple[_Link, ...] = Field(default=(), max_length=MAX_DEVICES)
    edges: tuple[_Edge, ...] = Field(default=(), max_length=MAX_ROWS)


class _Instance(_Part):
    name: _Name
    device: _Name
    count: _Count


_Item = TypeVar("_Item", _Component, _Device, _Instance, _Link)


class _Infrastructure(_Part):
    devices: tuple[_Device, ...] = Field(max_length=MAX_DEVICES)
    links: tuple[_Link, ...] = Field(default=(), max_length=MAX_DEVICES)
    instances: tuple[_Instance, ...] = Field(max_length=MAX_DEVICES)
    edges: tuple[_Edge, ...] = Field(default=(), max_length=MAX_ROWS)


class _Port(NamedTuple):
    """A component of an instance that a cable ends at: path of (component, index) from the device inwards."""

    instance: str
    number: int
    path: tuple[tuple[str, int], ...]


def looks_like_infragraph(text: str) -> bool:
    """Return whether a text names the parts of such a document."""
    return all(re.search(rf'"?\b{key}"?\s*:', text) for key in ("devices", "instances", "edges"))


def read_infragraph(path: Path) -> LinkList:
    """Read an infragraph document.

    Raises
    ------
    InputError
        If the file is none, or says what is no fabric: with every fault, by edge in the order of the file.
    """
    document = _loaded(path)
    found = validate(_Infrastructure, document, str(path))
    faults = Faults(str(path))
    reader = _Reader(found, faults)
    links = reader.links()
    faults.raise_any()
    return build_link_list(links, faults, reader.names())


def _loaded(path: Path) -> dict[str, Any]:
    text = read_text(path)
    is_json = text.lstrip()[:1] == "{"
    document = json_document(path, text) if is_json else yaml_document(path, text, "infragraph as JSON")
    if isinstance(document, dict) and isinstance(document.get("infrastructure"), dict):
        document = document["infrastructure"]
    if not isinstance(document, dict):
        raise InputError(Fault(str(path), type(document).__name__, "an object with devices, instances and edges"))
    return document


def _by_name(what: str, items: Iterable[_Item], faults: Faults) -> dict[str, _Item]:
    """Return items by their names, none of which may stand twice."""
    found: dict[str, _Item] = {}
    for number, item in enumerate(items, 1):
        if found.setdefault(item.name, item) is not item:
            faults.add(f"{what}, entry {number}", f"the name {item.name} twice", "each name once")
    return found


class _Reader:
    def __init__(self, document: _Infrastructure, faults: Faults):
        self._faults, self._expanded = faults, 0
        self._edges = document.edges
        self._devices = _by_name("devices", document.devices, faults)
        self._links = _by_name("links", document.links, faults)
        self._instances = _by_name("instances", document.instances, faults)
        self._counts = {name: instance.count for name, instance in self._instances.items()}
        #: How many there are of each component of a device.
        self._parts = {
            name: {part: component.count for part, component in _by_name(f"device {name}", one.components, faults).items()}
            for name, one in self._devices.items()
        }
        self._first_server: dict[str, int] = {}
        self._gpus: dict[str, int] = {}
        self._of_nic: dict[str, dict[tuple[str, int], int]] = {}
        servers = 0
        for instance in document.instances:
            device = self._devices.get(instance.device)
            if device is None:
                faults.add(f"instance {instance.name}", f"device {instance.device}", "one of the devices")
                continue
            gpus = [part for part in device.components if part.choice == "xpu"]
            self._gpus[instance.name] = sum(part.count for part in gpus)
            if gpus:
                self._first_server[instance.name] = servers
                servers += instance.count
        nodes = sum(instance.count * max(1, self._gpus.get(instance.name, 1)) for instance in document.instances)
        if nodes > MAX_ROWS:
            faults.add("instances", f"{nodes} GPUs and switches", f"at most {MAX_ROWS}")
        faults.raise_any()

    def names(self) -> Iterator[str]:
        """Yield the names of all nodes."""
        for name, instance in self._instances.items():
            for index in range(instance.count):
                if name in self._first_server:
                    yield from (f"s{self._first_server[name] + index}g{gpu}" for gpu in range(self._gpus[name]))
                else:
                    yield self._switch(name, index)

    def links(self) -> list[RawLink]:
        """Return all cables, and NVLink."""
        joined: list[tuple[str, _Port, _Port, str, str]] = []
        for number, edge in enumerate(self._edges, 1):
            place = f"edge {number}"
            gbps, latency_s = self._physical(self._links.get(edge.link), edge.link, place)
            pairs = self._pairs(edge, place)
            if len(joined) + len(pairs) > MAX_ROWS:
                self._faults.add(place, "more cables", f"at most {MAX_ROWS}")
            if len(joined) + len(pairs) > MAX_ROWS or self._expanded > MAX_EXPANDED:
                break
            joined += [(f"{place}, cable {turn}", *pair, gbps, latency_s) for turn, pair in enumerate(pairs, 1)]
        components: dict[tuple[str, str], set[str]] = defaultdict(set)
        for _, one, other, gbps, _ in joined:
            for port in (one, other):
                components[self._instances[port.instance].device, gbps].add(".".join(name for name, _ in port.path))
        links = []
        for place, one, other, gbps, latency_s in joined:
            ends = [
                self._end(port, place, len(components[self._instances[port.instance].device, gbps]) == 1)
                for port in (one, other)
            ]
            if None not in ends:
                (a, a_port), (b, b_port) = (end for end in ends if end is not None)
                links.append(RawLink(place, a, a_port, b, b_port, gbps, latency_s))
        return links + list(self._nvlinks())

    def _end(self, port: _Port, place: str, numbered: bool) -> tuple[str, str] | None:
        """Return the name of a node and its port, "" where it is not numbered."""
        if port.instance not in self._first_server:
            simple = numbered and len(port.path) == 1
            return self._switch(port.instance, port.number), str(port.path[0][1]) if simple else ""
        gpu = self._gpu_of(port.instance, port.path[0])
        if gpu is None:
            name, index = port.path[0]
            expected = (
                f"a NIC of one of the {self._gpus[port.instance]} GPUs of its device: joined to one, or evenly many a GPU"
            )
            self._faults.add(place, f"{port.instance} component {name}[{index}]", expected)
            return None
        return f"s{self._first_server[port.instance] + port.number}g{gpu}", ""

    def _gpu_of(self, instance: str, nic: tuple[str, int]) -> int | None:
        """Return the GPU of a NIC: the one an edge of the device joins it to, else by its place."""
        device = self._devices[self._instances[instance].device]
        if device.name not in self._of_nic:
            self._of_nic[device.name] = self._direct(device)
        direct = self._of_nic[device.name]
        if direct:
            return direct.get(nic)
        gpus = self._gpus[instance]
        each, rest = divmod(self._parts[device.name].get(nic[0], 0), gpus) if gpus else (0, 0)
        return None if rest or not each else nic[1] // each

    def _direct(self, device: _Device) -> dict[tuple[str, int], int]:
        """Return the GPU of every component that an edge of the device joins to one GPU alone."""
        first, found = 0, {}
        gpu_of: dict[tuple[str, int], int] = {}
        for part in device.components:
            if part.choice == "xpu":
                gpu_of |= {(part.name, index): first + index for index in range(part.count)}
                first += part.count
        at: dict[tuple[str, int], set[int]] = defaultdict(set)
        nics = {part.name for part in device.components if part.choice in ("nic", "device", "port")}
        for one, other in self._inner(device):
            for near, far in ((one, other), (other, one)):
                if near in gpu_of and far[0] in nics:
                    at[far].add(gpu_of[near])
        found = {nic: min(gpus) for nic, gpus in at.items() if len(gpus) == 1}
        return found

    def _inner(self, device: _Device) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
        """Yield the pairs of components that edges of a device join, each by its first part."""
        counts = self._parts[device.name]
        for number, edge in enumerate(device.edges, 1):
            sides = []
            for end in (edge.ep1, edge.ep2):
                part = f"{end.device}.{end.component}" if end.device else end.component
                name, indices = self._sliced(part.split(".")[0], counts, f"device {device.name}, edge {number}")
                sides.append([(name, index) for index in indices])
            self._expanded += max(len(side) for side in sides) if edge.scheme != "many2many" else len(sides[0]) * len(sides[1])
            if self._expanded > MAX_EXPANDED:
                self._faults.add(f"device {device.name}, edge {number}", "more ends of edges", f"at most {MAX_EXPANDED}")
                return
            if edge.scheme == "many2many":
                yield from ((one, other) for one in sides[0] for other in sides[1] if one != other)
            else:
                yield from (pair for pair in zip(*sides, strict=False) if pair[0] != pair[1])

    def _nvlinks(self) -> Iterator[RawLink]:
        for name, first in self._first_server.items():
            device, gpus = self._devices[self._instances[name].device], self._gpus[name]
            found = self._nvswitch(device, gpus)
            if found is not None:
                place, gbps, latency_s = found
                for server in range(first, first + self._instances[name].count):
                    for gpu in range(gpus):
                        yield RawLink(place, f"s{server}g{gpu}", "", f"s{server}nvswitch", "", gbps, latency_s)

    def _nvswitch(self, device: _Device, gpus: int) -> tuple[str, str, str] | None:
        """Return place, rate and delay of the links to the switch component that all GPUs of a device are joined to."""
        kinds = {part.name: part.choice for part in device.components}
        links = {link.name: link for link in device.links}
        for number, edge in enumerate(device.edges, 1):
            one = device.model_copy(update={"edges": (edge,)})
            joined: dict[tuple[str, int], set[tuple[str, int]]] = defaultdict(set)
            for a, b in self._inner(one):
                for near, far in ((a, b), (b, a)):
                    if kinds.get(near[0]) == "xpu" and kinds.get(far[0]) == "switch":
                        joined[far].add(near)
            link = links.get(edge.link)
            stated = link is not None and link.physical is not None and link.physical.bandwidth is not None
            if stated and any(len(found) == gpus for found in joined.values()):
                place = f"device {device.name}, edge {number}"
                return (place, *self._physical(link, edge.link, place))
        return None

    def _pairs(self, edge: _Edge, place: str) -> list[tuple[_Port, _Port]]:
        sides = [self._ports(end, place) for end in (edge.ep1, edge.ep2)]
        if len(sides[0]) * len(sides[1]) > MAX_ROWS and edge.scheme == "many2many":
            self._faults.add(place, f"{len(sides[0])} x {len(sides[1])} cables", f"at most {MAX_ROWS}")
            return []
        if edge.scheme == "many2many":
            return [(one, other) for one in sides[0] for other in sides[1] if one != other]
        if len(sides[0]) != len(sides[1]) and all(sides):
            self._faults.add(place, f"{len(sides[0])} ends joined one2one to {len(sides[1])}", "as many on both sides")
        return list(zip(*sides, strict=False))

    def _ports(self, end: _End, place: str) -> list[_Port]:
        """Return the components that an end of an edge names, by instance, then by component."""
        name, indices = self._sliced(end.instance or "", self._counts, place)
        if name not in self._instances:
            return []
        device: _Device | None = self._devices[self._instances[name].device]
        paths: list[tuple[tuple[str, int], ...]] = [()]
        for text in end.component.split("."):
            parts = self._parts[device.name] if device is not None else {}
            part, places = self._sliced(text, parts, place)
            self._expanded += len(paths) * len(places) * max(1, len(indices))
            if self._expanded > MAX_EXPANDED:
                self._faults.add(place, "more ends of edges", f"at most {MAX_EXPANDED}")
                return []
            paths = [(*path, (part, index)) for path in paths for index in places]
            # A component that is a device has the name of that device.
            device = self._devices.get(part)
        return [_Port(name, index, path) for index in indices for path in paths]

    def _sliced(self, text: str, counts: dict[str, int], place: str) -> tuple[str, range]:
        """Return a name and the indices behind it; all where there are none."""
        match = _SLICED.fullmatch(text)
        name = match["name"] if match else text
        count = counts.get(name)
        found = _SLICE.fullmatch(match["slice"] or "") if match else None
        if count is None or found is None:
            known = ", ".join(list(counts)[:6])
            self._faults.add(
                place,
                text or "an end without a name",
                f"one of {known} with the indices of a slice" if known else "a name that is declared",
            )
            return name, range(0)
        if found["one"] is not None:
            index = int(found["one"]) + (count if int(found["one"]) < 0 else 0)
            if not 0 <= index < count:
                self._faults.add(place, text, f"an index below {count}")
                return name, range(0)
            return name, range(index, index + 1)
        start, stop, step = (None if found[key] is None else int(found[key]) for key in ("start", "stop", "step"))
        if step == 0:
            self._faults.add(place, text, "a step other than 0")
            return name, range(0)
        return name, range(count)[slice(start, stop, step)]

    def _physical(self, link: _Link | None, name: str, place: str) -> tuple[str, str]:
        """Return the rate in Gb/s and the delay in seconds of a link."""
        physical = (link.physical if link else None) or _Physical()
        rate, delay = physical.bandwidth or _Quantity(), physical.latency or _Quantity()
        gbps = rate.gigabits_per_second
        if rate.choice == "gigabytes_per_second" and rate.gigabytes_per_second is not None:
            gbps = rate.gigabytes_per_second * 8
        if gbps is None or rate.choice == "gigatransfers_per_second":
            found = f"link {name} without a bandwidth" if link else f"link {name}, which is not declared"
            self._faults.add(place, found, "gigabits_per_second or gigabytes_per_second of a declared link")
            gbps = 1.0
        value = getattr(delay, delay.choice, None) if delay.choice in _SECONDS else None
        return repr(float(gbps)), repr(LATENCY_S if value is None else value * _SECONDS[delay.choice or "ns"])

    def _switch(self, instance: str, index: int) -> str:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", instance)[:50]
        name = name if re.match(r"[A-Za-z0-9]", name) else f"sw{name}"
        # Roles are told by names, and these are of servers; a number behind a number would be another one.
        name = f"sw-{name}" if re.fullmatch(r"s\d+(g|nvswitch)\d*", name) else name
        return f"{name}-{index}" if name[-1].isdigit() else f"{name}{index}"
