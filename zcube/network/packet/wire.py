"""What bytes take on a link."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import link_of
from zcube.network.packet.state import Net


@inner
def wire_ps(net: Net, link: int, size: int) -> int:
    """Return what a link takes for so many bytes, to the nearest picosecond."""
    if size == net.mtu:
        return link_of(net, link).full_ps
    kbps = link_of(net, link).kbps
    return (size * 8_000_000_000 + kbps // 2) // kbps
