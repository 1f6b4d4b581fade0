"""Transports: named bundles of settings of ``[network]``, how packets are spread over paths and what holds senders back.

A bundle is a TOML file; the bundled ones lie in ``transports/``. Names joined by ``+`` are parts of one transport, as in
``spray+nscc``: one says how paths are chosen, the other what controls congestion. Parts do not contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.families import families
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, resolve_declared, set_key, validate
from zcube.network.protocol import Fidelity
from zcube.network.settings import Network, told_with_routings

KIND = "transports"
#: Joins the parts of a transport.
AND = "+"
MOST_PARTS = 4

#: Keys that a transport may not set: what is asked of every column alike.
NOT_ITS_OWN = ("fidelity", "fall_back", "nic_gbps", "calibration", "calibration_draws", "quantum_s", "bin_s", "memory_gb")


class Bundle(Declared):
    """A part of a transport, or a whole one, as its file declares it."""

    description: str = Field(min_length=1, max_length=1000, description="one line, shown by `zcube transport list`")
    kind: Literal["balancing", "control", "whole"] = Field(
        description="what it says: how paths are chosen, what holds senders back, or both"
    )
    sources: tuple[str, ...] = Field(min_length=1, max_length=40, description="where its values come from")
    network: dict[str, Any] = Field(default={}, description="keys of [network] that it sets")
    families: dict[str, dict[str, Any]] = Field(
        default={}, max_length=100, description="by family of fabrics, keys of [network] that differ there"
    )


@dataclass(frozen=True)
class Transport:
    """A column of a matrix.

    Attributes
    ----------
    name : str
        As it was asked for.
    bundles : dict of Bundle
        Its parts, by the names that stand between the ``+``.
    """

    name: str
    bundles: Mapping[str, Bundle]

    def changes(self, family: str) -> dict[str, Any]:
        """Return what it sets on fabrics of a family, by key of ``[network]`` with dots."""
        changes: dict[str, Any] = {}
        for bundle in self.bundles.values():
            changes |= dict(_flat(bundle.network))
        for bundle in self.bundles.values():
            changes |= dict(_flat(bundle.families.get(family, {})))
        return changes

    def over(self, network: Mapping[str, Any], family: str) -> dict[str, Any]:
        """Return keys of ``[network]`` with what it sets on fabrics of a family in place of theirs."""
        data = _copied(network)
        for key, value in self.changes(family).items():
            set_key(data, key, value, self.name)
        return data

    def left_open(self, network: Network) -> list[str]:
        """Return what a network has that no part of this transport says, of what the network's fidelity looks at."""
        kinds = {bundle.kind for bundle in self.bundles.values()}
        if "whole" in kinds or network.fidelity == "ideal":
            return []
        packet, packets = network.packet, network.fidelity == "packet"
        found = []
        if "balancing" not in kinds:
            chosen = f"path choice {packet.path_choice}" if packets else f"path split {network.path_split}"
            found.append(f"how paths are chosen: routing {network.routing}, {chosen}")
        if "control" not in kinds and packets:
            pfc = "PFC" if packet.pfc else "no PFC"
            marks = f", marks by {packet.marking_law}" if packet.control.marks else ""
            found.append(f"what holds senders back: {packet.congestion_control}, {pfc}{marks}")
        if "control" not in kinds and network.fidelity == "lossless":
            found.append(f"what holds senders back: isolation {network.isolation:g}")
        return found

    def document(self) -> dict[str, Any]:
        """Return what it is, JSON-ready."""
        return {name: bundle.model_dump(mode="json") for name, bundle in self.bundles.items()}


def load_transport(reference: str) -> Transport:
    """Read a transport.

    Parameters
    ----------
    reference : str
        Stem of a bundled one, path to a file, or several of these joined by ``+``.

    Raises
    ------
    InputError
        With every part that cannot be read, and every key that it cannot set or that two parts set differently.
    """
    names = [reference] if is_file(reference) else [part.strip() for part in reference.split(AND)]
    if len(names) > MOST_PARTS or not all(names) or len(set(names)) < len(names):
        raise InputError(Fault("transport", repr(reference)[:80], f"up to {MOST_PARTS} names joined by {AND}, each once"))
    faults, bundles = FaultList(), {}
    for name in names:
        with faults:
            bundles[name] = _bundle(name)
    faults.check()
    faults.faults.extend(_contradictions(reference, bundles))
    faults.check()
    transport = Transport(reference, bundles)
    # Whatever the other keys are, these must be such as a network takes.
    for family in ("", *dict.fromkeys(family for bundle in bundles.values() for family in bundle.families)):
        with faults:
            checked_network({}, transport, family)
    faults.check()
    return transport


def checked_network(
    common: Mapping[str, Any], transport: Transport, family: str, fidelity: Fidelity = "packet", nic_ports: int = 1,
    option: str | None = None,
) -> Network:  # fmt: skip
    """Return how bytes move on fabrics of a family under a transport.

    Parameters
    ----------
    common : mapping
        Keys of ``[network]`` that hold for every column.
    transport : Transport
        What takes their place.
    family : str
        Of the fabric.
    fidelity : Fidelity
        Of the run. Where it is a fluid, packets sprayed in turn are equal parts on all paths, packets that go where queues are
        short draw from one pool, and what is paced or paused is nothing.
    nic_ports : int
        Of a GPU. Where packets are spread and the transport does not say by how many queue pairs, a transfer has as many as
        where they are not, shared out to the ports.
    option : str, optional
        That keys for every column were given by, which names what is wrong with those that the transport does not set.

    Raises
    ------
    InputError
        With every key that is not as it should be.
    """
    data = transport.over(common, family)
    data["fidelity"] = fidelity
    its_own = transport.changes(family)

    def where(key: str) -> str:
        given = option is not None and key and not any(own == key or own.startswith(f"{key}.") for own in its_own)
        return f"{option} {key}" if given else f"transport {transport.name}: network.{key}"

    with told_with_routings(data, where):
        network = validate(Network, data, where)
    packet = network.packet
    if packet.path_choice == "static":
        return network
    if fidelity != "packet":
        return network.model_copy(update={"path_split": "fixed" if packet.path_choice.startswith("spray") else "pooled"})
    if "spread_queue_pairs" in packet.model_fields_set:
        return network
    ports = nic_ports if packet.queue_pair_ports == "one" else 1
    set_key(data, "packet.spread_queue_pairs", max(1, network.queue_pairs // ports), where("packet"))
    return validate(Network, data, where)


def _bundle(name: str) -> Bundle:
    path = resolve_declared(name, KIND)
    bundle = validate(Bundle, read_toml(path), str(path) if path.stem != name else f"transport {name}")
    faults = [
        Fault(f"transport {name}: families.{family}", "no family", "one of " + ", ".join(sorted(families())))
        for family in bundle.families
        if family not in families()
    ]
    for table in (bundle.network, *bundle.families.values()):
        expected = "a key of paths or packets; what holds for every column is an option"
        faults += [Fault(f"transport {name}: network.{key}", "a key", expected) for key in table if key in NOT_ITS_OWN]
    if bundle.kind == "control":
        set_here = {key for table in (bundle.network, *bundle.families.values()) for key in table}
        expected = "this key in a part of kind balancing, or whole"
        faults += [
            Fault(f"transport {name}: network.{key}", "a key in a part of kind control", expected)
            for key in ("queue_pairs", "routing", "path_split")
            if key in set_here
        ]
    if faults:
        raise InputError(faults)
    return bundle


def _contradictions(reference: str, bundles: Mapping[str, Bundle]) -> list[Fault]:
    """Return a fault for two parts of one kind, and for every key that two parts set differently."""
    faults: list[Fault] = []
    where = f"transport {reference}"
    for kind in ("balancing", "control"):
        of_kind = [name for name, bundle in bundles.items() if bundle.kind in (kind, "whole")]
        if len(of_kind) > 1:
            faults.append(Fault(where, f"{' and '.join(of_kind)}, each of them for {kind}", "one part for it"))
    seen: dict[tuple[str, str], tuple[str, Any]] = {}
    for name, bundle in bundles.items():
        for family, table in (("", bundle.network), *bundle.families.items()):
            for key, value in _flat(table):
                other, found = seen.setdefault((family, key), (name, value))
                if found != value:
                    faults.append(Fault(f"{where}: network.{key}", f"{found} in {other} and {value} in {name}", "one value"))
    return faults


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{_quoted(key)}.")
        else:
            yield before + _quoted(key), value


def _quoted(key: str) -> str:
    return f'"{key}"' if "." in key else key


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def parts_of(references: Sequence[str]) -> list[Path]:
    """Return the files of transports, those that are files and not bundled, each once."""
    names = dict.fromkeys(
        name for reference in references for name in ([reference] if is_file(reference) else reference.split(AND))
    )
    return [Path(name) for name in names if is_file(name)]
