"""From a name or a file to a built fabric."""

from __future__ import annotations

from zcube.errors import Fault, InputError
from zcube.fabric.families import families
from zcube.fabric.model import Fabric
from zcube.fabric.ports import check_port_budget
from zcube.fabric.spec import MAX_CABLES
from zcube.inputs import read_toml, resolve_declared, validate


def load_fabric(reference: str) -> Fabric:
    """Build the fabric a topology file declares.

    Parameters
    ----------
    reference : str
        Stem of a bundled topology (``"zcube-1024"``) or path to a topology file.

    Raises
    ------
    InputError
        If the file cannot be read, a key is wrong, sizes do not fit, or switches run out of ports.
    """
    path = resolve_declared(reference, "topologies")
    source = str(path) if path.stem != reference else reference
    data = read_toml(path)
    family = data.get("family")
    if not isinstance(family, str) or family not in families():
        found = "nothing" if family is None else repr(family)
        raise InputError(Fault(f"{source}: family", found, "one of " + ", ".join(sorted(families()))))
    spec = validate(families()[family], data, source)
    estimate = 4 * spec.gpus
    if estimate > MAX_CABLES:
        raise InputError(Fault(f"{source}: gpus", f"{spec.gpus}, about {estimate} cables", f"at most {MAX_CABLES} cables"))
    fabric = spec.build(path.stem)
    check_port_budget(fabric, source)
    return fabric
