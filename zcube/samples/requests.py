"""Sample request traces, in three of the formats that are read."""

from __future__ import annotations

import csv
import io
import json

import numpy as np

from zcube.seeds import stream
from zcube.workload.agent_parameters import CodingAgent
from zcube.workload.coding_agent import generate_requests
from zcube.workload.requests import RequestTrace

REQUESTS, SESSIONS = 600, 40
#: Shorter prompts than the generator's own, so that the file stays small: 8 k tokens before the first turn.
SHORT = CodingAgent(
    session_starts_per_s=1.0,
    shared_prefix_tokens=6144,
    group_prefix_tokens=2048,
    groups=20,
    session_prefix_mu=7.5,
    session_prefix_sigma=1.0,
    new_tokens_mu=7.0,
    context_cap_tokens=64_000,
)


def mooncake_jsonl(seed: int) -> bytes:
    """Return coding agents' requests in the format of the Mooncake traces: times in ms, blocks of 512 tokens."""
    requests = _requests(seed, REQUESTS)
    rows = [
        {
            "timestamp": round(1e3 * float(requests.arrival_s[row])),
            "input_length": int(requests.input_tokens[row]),
            "output_length": int(requests.output_tokens[row]),
            "hash_ids": requests.block_id[requests.first_block[row] : requests.first_block[row + 1]].tolist(),
        }
        for row in range(REQUESTS)
    ]
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()


def sessions_jsonl(seed: int) -> bytes:
    """Return sessions as aiperf's data sets have them: a row a turn, its new tokens alone, delays between turns in ms."""
    draws = stream(seed, "sample-sessions")
    rows = []
    for session in range(SESSIONS):
        for turn in range(int(draws.integers(1, 8))):
            row = {
                "session_id": f"session-{session}",
                "input_length": int(draws.integers(2000, 9000) if turn == 0 else draws.integers(200, 2000)),
                "output_length": int(draws.integers(50, 800)),
            }
            rows.append(row if turn == 0 else row | {"delay": round(float(draws.exponential(4000.0)))})
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def log_csv(seed: int) -> bytes:
    """Return a log of requests as a gateway may write it, with columns of its own and times in ms."""
    requests = _requests(seed, REQUESTS)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["t", "prompt_tokens", "completion_tokens", "status"])
    columns = (np.round(1e3 * requests.arrival_s, 3), requests.input_tokens, requests.output_tokens)
    rows.writerows([time_ms, prompt, answer, 200] for time_ms, prompt, answer in zip(*map(np.ndarray.tolist, columns)))
    return text.getvalue().encode()


def _requests(seed: int, count: int) -> RequestTrace:
    return generate_requests(SHORT, count, seed)
