#!/usr/bin/env bash
# aiperf 0.13.0: in its agentic-code data set one block id stands for different tokens where a session restarts another.
#
# The writer's rows hold a turn's new tokens only, and give a row's later turns fresh ids in the order of the file: blocks of
# questions, none for answers. The first row of a restarted session (`is_restart`) holds the whole conversation before it,
# answers included (its input_length is their sum), yet its ids begin with exactly those of the earlier rows, one after the
# other, as if the answers were not there; what is missing is filled up at the end. From the second turn on, the id at a place
# of the restarted prompt is therefore that of a block which lies elsewhere in the conversation. A reader that takes equal ids
# for equal prefixes (Mooncake's rule) finds a longer common prefix than a cache of the tokens could.
#
# Seen: aiperf 0.13.0, manifest 1k_sessions_200k_ctx, 400 primary sessions, seed 1: 25 restarts, all as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Only what the data-set generator imports, pinned, so that nothing is resolved.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
  aiperf==0.13.0 aiofiles==24.1.0 aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0 annotated-types==0.8.0 attrs==26.1.0 \
  brotli==1.2.1 cyclopts==4.25.3 docstring_parser==0.18.0 ffmpeg-python==0.2.0 frozenlist==1.8.0 future==1.0.0 idna==3.20 \
  Jinja2==3.1.6 markdown-it-py==4.3.0 MarkupSafe==3.0.4 mdurl==0.1.2 msgspec==0.22.0 multidict==7.2.1 narwhals==2.29.0 \
  numpy==2.4.6 orjson==3.11.9 packaging==26.4 pillow==12.3.0 plotly==6.4.0 propcache==0.5.4 psutil==7.0.0 pydantic==2.14.4 \
  pydantic_core==2.50.5 pydantic-settings==2.16.3 Pygments==2.21.0 python-dotenv==1.2.4 PyYAML==6.0.4 rich==14.1.0 \
  rich-rst==2.2.0 ruamel.yaml==0.18.17 ruamel.yaml.clib==0.2.15 setuptools==80.9.0 typing_extensions==4.16.0 \
  typing-inspection==0.4.5 yarl==1.25.1
cat > "$work/look.py" <<'PY'
import json
import math
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import aiperf.dataset.agentic_code_gen as generator
from aiperf.dataset.agentic_code_gen.config import load_config
from aiperf.dataset.agentic_code_gen.session_synthesizer import SessionSynthesizer
from aiperf.dataset.agentic_code_gen.writer import write_dataset

manifest = Path(generator.__file__).parent / "datasets" / "1k_sessions_200k_ctx" / "manifest.json"
config = load_config(str(manifest))
sessions = SessionSynthesizer(config, seed=1).synthesize_sessions(400)
written, *_ = write_dataset(sessions, Path(sys.argv[1]), config, seed=1)
rows = defaultdict(list)
for line in written.open():
    row = json.loads(line)
    rows[row["session_id"]].append(row)
tokens = {name: sum(row["input_length"] + row["output_length"] for row in turns) for name, turns in rows.items()}
restarts = [turns[0] for turns in rows.values() if turns[0].get("is_restart")]
whole = misplaced = 0
for first in restarts:
    # The conversation before it: that with as many tokens as the prompt has.
    (before,) = [turns for name, turns in rows.items() if tokens[name] == first["input_length"]]
    ids = [block for row in before for block in row["hash_ids"]]
    whole += first["hash_ids"][: len(ids)] == ids
    needed = math.ceil(first["input_length"] / config.block_size)
    misplaced += len(first["hash_ids"]) == needed > len(ids) > len(before[0]["hash_ids"])
print(f"aiperf {version('aiperf')}: {len(restarts)} restarts; ids are those of the questions before in {whole}, ")
print(f"  with answers counted in input_length and without ids in {misplaced}")
assert (len(restarts), whole, misplaced) == (25, 25, 25)
PY
"$work/venv/bin/python" "$work/look.py" "$work/out"
