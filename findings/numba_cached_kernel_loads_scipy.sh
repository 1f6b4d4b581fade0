#!/usr/bin/env bash
# Numba 0.68.1: the first call of any kernel, one taken from the cache included, imports scipy.linalg where SciPy is installed.
#
# A kernel that adds 1 to a whole number and was compiled by an earlier process needs no compiler and no linear algebra. Before
# its first call Numba nevertheless registers the implementations of all array functions, and the module with those of
# numpy.dot and the like looks whether SciPy's BLAS can be had by importing scipy.linalg. A command-line program whose kernels
# are all kept thus loads some 85 modules of SciPy at every start, a few tenths of a second, and does not where SciPy is missing.
#
# Seen: Numba 0.68.1, llvmlite 0.50.0, NumPy 2.4.6, SciPy 1.17.1: cache hit, scipy.linalg loaded by the call, over 50 modules.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cat > "$work/kernel.py" <<'PY'
import sys
from importlib.metadata import version

import numba


@numba.njit(cache=True)
def plus_one(number):
    return number + 1


before = "scipy.linalg" in sys.modules
assert plus_one(1) == 2
scipy = [name for name in sys.modules if name.partition(".")[0] == "scipy"]
print(
    f"Numba {version('numba')}: taken from the cache: {sum(plus_one.stats.cache_hits.values())}; scipy.linalg loaded before the call: "
    f"{before}; after it: {len(scipy)} modules, scipy.linalg: {'scipy.linalg' in scipy}"
)
PY
export NUMBA_CACHE_DIR="$work/cache"
"$work/venv/bin/python" "$work/kernel.py" > "$work/compiled"
without=$("$work/venv/bin/python" "$work/kernel.py")
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps scipy==1.17.1
with=$("$work/venv/bin/python" "$work/kernel.py")
printf 'without SciPy: %s\nwith SciPy: %s\n' "$without" "$with"
grep -q 'cache: 1; scipy.linalg loaded before the call: False; after it: 0 modules' <<< "$without"
grep -qE 'cache: 1; scipy.linalg loaded before the call: False; after it: [5-9][0-9]+ modules, scipy.linalg: True' <<< "$with"
