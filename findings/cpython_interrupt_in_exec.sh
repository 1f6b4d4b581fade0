#!/usr/bin/env bash
# CPython 3.11: a KeyboardInterrupt that leaves exec() of a text and is caught makes `python -m` die by SIGINT at its end.
#
# `run_eval_code_obj()` notes that an interrupt left it, and clears the note only when it runs the next text; `Py_RunMain()` looks at
# the note when all is done and raises SIGINT in place of the exit status. exec() of a text is such a run, and so every dataclass,
# named tuple or Numba kernel in the making. A program that catches the interrupt and asks for a status of its own ends with it if it
# is started as a file or by -c, and by the signal if it is started by -m. A later exec("") clears the note.
#
# Seen: CPython 3.11.7: file 130, -m -2, -m after exec("") 130.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/caught.py" <<'PY'
import sys

try:
    exec("raise KeyboardInterrupt")
except KeyboardInterrupt:
    pass
if "clear" in sys.argv:
    exec("")
sys.exit(130)
PY
cd "$work"
python3 - <<'PY'
import subprocess
import sys

started = {"file": ["caught.py"], "-m": ["-m", "caught"], "-m after exec": ["-m", "caught", "clear"]}
found = {name: subprocess.run([sys.executable, *words]).returncode for name, words in started.items()}
print(sys.version.split()[0], found)
sys.exit(found != {"file": 130, "-m": -2, "-m after exec": 130})
PY
