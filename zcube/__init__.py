"""zcube: decide on the network of a GPU cluster by simulating, pricing and comparing fabrics.

>>> import zcube as zc
>>> zc.compare("glm51-pd-1024", {"load.rate_per_s": 40}).table()  # doctest: +SKIP

What stands in ``__all__`` is public and described in docs/python.md; everything below the modules of the rooms may change. The
rooms follow the data: ``fabric`` -> ``routing`` -> ``network`` -> ``serving`` -> ``comparison`` -> ``report``; ``llm`` and
``workload`` feed ``serving``, ``pricing`` feeds ``comparison``.
"""

from zcube.lazy import keep_names, lazy_names

# What type checkers take for theirs, without what takes a while to load: Ctrl-C is not yet heard.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from zcube import calibrate
    from zcube.front_door import (
        BillOfMaterials,
        CommTrace,
        Comparison,
        Fabric,
        FabricPlan,
        InputError,
        Matrix,
        Network,
        Plan,
        Replay,
        RequestTrace,
        RunError,
        Scenario,
        Sweep,
        TraceReplay,
        ZcubeError,
        compare,
        cost,
        demo,
        figures,
        load_fabric,
        load_requests,
        load_scenario,
        load_trace,
        matrix,
        plan,
        plan_fabric,
        replay,
        sweep,
    )

__version__ = "0.1.0"

__all__ = [
    "BillOfMaterials",
    "CommTrace",
    "Comparison",
    "Fabric",
    "FabricPlan",
    "InputError",
    "Matrix",
    "Network",
    "Plan",
    "Replay",
    "RequestTrace",
    "RunError",
    "Scenario",
    "Sweep",
    "TraceReplay",
    "ZcubeError",
    "calibrate",
    "compare",
    "cost",
    "demo",
    "figures",
    "load_fabric",
    "load_requests",
    "load_scenario",
    "load_trace",
    "matrix",
    "plan",
    "plan_fabric",
    "replay",
    "sweep",
]

# Nothing is imported before it is asked for, so that ``import zcube`` takes no time.
__getattr__ = lazy_names(__name__, {name: f"zcube.front_door:{name}" for name in __all__} | {"calibrate": "zcube.calibrate"})

# The planner's, the matrix's and the sweeps' rooms have the names of their verbs.
keep_names(__name__, {name: f"zcube.front_door:{name}" for name in ("matrix", "plan", "sweep")})


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
