#!/usr/bin/env bash
# pandas 3.1.1 with pyarrow 26.0.1: importing pandas starts a thread, of an allocator that nothing uses.
#
# A process with one thread can be copied whole (`os.fork`, multiprocessing's "fork"); Python warns of copies of others from 3.12
# on. NumPy's threads are kept away by OPENBLAS_NUM_THREADS=1, matplotlib has none. `import pandas` imports pyarrow, whose Linux
# wheel holds jemalloc beside mimalloc, the default; jemalloc's background thread starts when the library is loaded. One would
# expect that choosing another allocator (ARROW_DEFAULT_MEMORY_POOL=system), or jemalloc's own MALLOC_CONF, keeps it away. Neither
# does. The library's prefixed JE_ARROW_MALLOC_CONF=background_thread:false does, and writing Parquet starts none then either.
#
# Seen, threads after import and after writing: default 2 2; ARROW_DEFAULT_MEMORY_POOL=system 2 2;
# MALLOC_CONF=background_thread:false 2 2; JE_ARROW_MALLOC_CONF=background_thread:false 1 1
set -euo pipefail
[ "$(uname -s)" = Linux ] || { echo "counts threads in /proc: Linux only"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
cat > "$work/threads.py" <<'PYTHON'
import os, sys

def threads():
    return len(os.listdir("/proc/self/task"))

import numpy
assert threads() == 1, "NumPy's own"
import pandas
after_import = threads()
pandas.DataFrame({"ttft_s": [0.25, 0.5]}).to_parquet(sys.argv[1])
print(after_import, threads())
PYTHON
export OPENBLAS_NUM_THREADS=1
counted() { env "$@" "$work/venv/bin/python" "$work/threads.py" "$work/out.parquet"; }
as_it_is=$(counted A=)
other_pool=$(counted ARROW_DEFAULT_MEMORY_POOL=system)
own_name=$(counted MALLOC_CONF=background_thread:false)
prefixed=$(counted JE_ARROW_MALLOC_CONF=background_thread:false)
echo "threads after import and after writing: default $as_it_is; ARROW_DEFAULT_MEMORY_POOL=system $other_pool;" \
    "MALLOC_CONF=background_thread:false $own_name; JE_ARROW_MALLOC_CONF=background_thread:false $prefixed"
[ "$as_it_is/$other_pool/$own_name/$prefixed" = "2 2/2 2/2 2/1 1" ]
