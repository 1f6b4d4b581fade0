"""Front-panel names of every cable end.

A switch's native ports are ``swp1 ..`` from 1, as switch operating systems built on Linux name them; a port split into slower
ones is ``swp5s0``, ``swp5s1``, lanes from 0. A server is the device ``server3``, from 0 as everywhere in a fabric; its NIC
ports are ``gpu5p0``: local GPU 5, NIC port 0. That is short enough for a Linux interface name (15 characters).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from zcube.errors import Fault, InputError

_SERVER_PORT = re.compile(r"gpu(\d{1,6})p(\d{1,3})", re.ASCII)
_SWITCH_PORT = re.compile(r"swp(\d{1,6})(?:s(\d{1,3}))?", re.ASCII)
_SERVER = re.compile(r"server(\d{1,9})", re.ASCII)


class NicPort(NamedTuple):
    """A NIC port inside a server: local GPU and port, from 0."""

    gpu: int
    port: int


class PanelPort(NamedTuple):
    """A switch's front-panel port from 1 and its lane from 0, ``None`` for a port that is not split."""

    port: int
    lane: int | None


def parse_port(name: str) -> NicPort | PanelPort:
    """Return what a port name of :func:`~zcube.fabric.cages.cage_name` says.

    Raises
    ------
    InputError
        If the name is neither ``gpu5p0`` nor ``swp5`` nor ``swp5s0``.
    """
    if match := _SERVER_PORT.fullmatch(name):
        return NicPort(int(match[1]), int(match[2]))
    if (match := _SWITCH_PORT.fullmatch(name)) and int(match[1]) > 0:
        return PanelPort(int(match[1]), None if match[2] is None else int(match[2]))
    raise InputError(Fault("port", repr(name[:80]), "a name like gpu5p0, swp5 or swp5s0"))


def parse_server(name: str) -> int | None:
    """Return the server's number, or ``None`` if the device is no server."""
    match = _SERVER.fullmatch(name)
    return int(match[1]) if match else None
