#!/usr/bin/env bash
# SimPy 4.1.2: an environment's factories are bound once for the class itself, and anew at every access in a subclass of it.
#
# `Environment.__init__` calls `BoundClass.bind_early`, which puts `timeout`, `event`, `process`, `all_of` and `any_of` into the
# new environment as bound methods, so that `env.timeout(1.0)` is an attribute of the instance. One would expect the same of a
# subclass, which the library documents as the way to other environments and does itself (RealtimeEnvironment). But it looks at
# the attributes of the instance's own class only, not at inherited ones: a subclass, even an empty one, binds nothing, and every
# access makes a new bound method by the descriptor. Results are the same; a simulation that asks for a timeout a million times
# pays for a million bound methods.
#
# Seen: SimPy 4.1.2: bound in Environment: all_of any_of event process timeout; in an empty subclass: none; in
# RealtimeEnvironment: none; env.timeout is env.timeout: True, False, False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check simpy==4.1.2
cat > "$work/bound.py" <<'PYTHON'
from importlib.metadata import version

import simpy
import simpy.rt


class Calendar(simpy.Environment):
    pass


found = []
for environment in (simpy.Environment(), Calendar(), simpy.rt.RealtimeEnvironment(strict=False)):
    bound = sorted(name for name in vars(environment) if not name.startswith("_") and callable(vars(environment)[name]))
    found.append((" ".join(bound) or "none", environment.timeout is environment.timeout))
print(
    f"SimPy {version('simpy')}: bound in Environment: {found[0][0]}; in an empty subclass: {found[1][0]}; "
    f"in RealtimeEnvironment: {found[2][0]}; env.timeout is env.timeout: {found[0][1]}, {found[1][1]}, {found[2][1]}"
)
assert found == [("all_of any_of event process timeout", True), ("none", False), ("none", False)], found
PYTHON
"$work/venv/bin/python" "$work/bound.py"
