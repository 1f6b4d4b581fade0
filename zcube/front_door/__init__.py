"""What ``import zcube`` offers: the main verbs as functions that take names, files, frames or values, and return results.

Results are values with a ``table()`` as a pandas frame, units in the names of its columns, and a ``document()``, JSON-ready.
:func:`figures` draws them.
"""

from __future__ import annotations

from zcube.comparison import Comparison
from zcube.errors import InputError, RunError, ZcubeError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.front_door.comparing import compare, figures
from zcube.front_door.planning import cost, plan, plan_fabric
from zcube.front_door.replaying import Network, demo, load_requests, replay
from zcube.front_door.studying import matrix, sweep
from zcube.matrix.matrix import Matrix
from zcube.plan.plan import Plan
from zcube.plan.standing import FabricPlan
from zcube.pricing.bill import BillOfMaterials
from zcube.replays.flows import Replay
from zcube.replays.operations import TraceReplay
from zcube.scenario import Scenario, load_scenario
from zcube.sweep.sweep import Sweep
from zcube.trace.comm_trace import CommTrace
from zcube.trace.files import read_trace as load_trace
from zcube.workload.requests import RequestTrace

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
