#!/usr/bin/env bash
# The lowest version of every dependency that pyproject.toml admits: the default command, and tests of every room that take no
# minute together. Argument: a folder for the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -m venv "$1/uv"
"$1/uv/bin/pip" install uv
"$1/uv/bin/uv" venv -q --python "$(command -v python3)" "$1/lowest"
"$1/uv/bin/uv" pip install -q --python "$1/lowest/bin/python" --resolution lowest-direct \
    . 'hypothesis>=6.100' 'pytest>=8.0' 'pytest-xdist>=3.5'
"$1/uv/bin/uv" pip list --python "$1/lowest/bin/python" 2> /dev/null | grep -iE '^(numpy|numba|scipy|pandas|pyarrow|pydantic|typer) '
(cd "$1" && time lowest/bin/python -P -m zcube compare --set requests.count=40 --jobs 1 --out first > /dev/null)
time "$1/lowest/bin/python" -m pytest -n 0 \
    tests/golden/test_report_text.py tests/contract/test_workplace.py tests/analytic/test_flow_closed_forms.py \
    tests/contract/test_custom_fabric.py tests/contract/test_price_books.py tests/analytic/test_calibration_fit.py
