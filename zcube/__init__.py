"""zcube: decide on the network of a GPU cluster by simulating, pricing and comparing fabrics.

>>> import zcube as zc
>>> zc.compare("glm51-pd-1024", {"load.rate_per_s": 40}).table()  # doctest: +SKIP

What stands in ``__all__`` is public and described in docs/python.md; everything below the modules of the rooms may change. The
rooms follow the data: ``fabric`` -> ``routing`` -> ``network`` -> ``serving`` -> ``comparison`` -> ``report``; ``llm`` and
``workload`` feed ``serving``, ``pricing`` feeds ``comparison``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zcube import calibrate
    from zcube.front_door import (
        BillOfMaterials,
        Comparison,
        Fabric,
        InputError,
        Network,
        Replay,
        RunError,
        Scenario,
        TraceReplay,
        ZcubeError,
        compare,
        cost,
        figures,
        load_fabric,
        load_requests,
        load_scenario,
        load_trace,
        replay,
    )

__version__ = "0.1.0"

__all__ = [
    "BillOfMaterials",
    "Comparison",
    "Fabric",
    "InputError",
    "Network",
    "Replay",
    "RunError",
    "Scenario",
    "TraceReplay",
    "ZcubeError",
    "calibrate",
    "compare",
    "cost",
    "figures",
    "load_fabric",
    "load_requests",
    "load_scenario",
    "load_trace",
    "replay",
]


def __getattr__(name: str) -> Any:
    # Only what is asked for is imported, so that ``import zcube`` takes no time.
    if name not in __all__:
        raise AttributeError(f"module 'zcube' has no attribute {name!r}")
    value = import_module("zcube.calibrate") if name == "calibrate" else getattr(import_module("zcube.front_door"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
