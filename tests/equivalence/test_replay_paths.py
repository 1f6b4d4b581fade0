"""What a replay writes is enough for another solver to find the same times: here the plain oracle."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from oracle_max_min import Transfer, finish_times

from zcube.seeds import stream

HERE = [("roft-256", "hash", "pooled"), ("roft-256", "ecmp", "fixed"), ("zcube-n16", "zcube-paths", "pooled"),
        ("zcube-n16", "zcube-paths", "fixed"), ("zcube-256", "hash", "pooled")]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(("fabric", "routing", "split"), HERE)
def test_paths_solved_again_give_the_same_finish(run, tmp_path, fabric, routing, split, ending):
    read = pd.read_csv if ending == "csv" else pd.read_parquet
    for seed in range(4):
        rng = stream(seed, "replay")
        source, target = rng.integers(0, 10, 12), rng.integers(0, 256, 12)
        size, start = rng.integers(1, 9, 12) * 250_000, rng.integers(0, 4, 12) * 1e-5
        rows = pd.DataFrame({"src": source, "dst": target, "bytes": size, "start_s": start, "id": [f"f{n}" for n in range(12)]})
        rows = rows[rows.src != rows.dst]
        trace, out, paths = tmp_path / "flows.csv", tmp_path / f"out.{ending}", tmp_path / f"paths.{ending}"
        rows.to_csv(trace, index=False)
        choices = ["--fabric", fabric, "--routing", routing, "--path-split", split, "--seed", str(seed)]
        status, _, err = run("replay", trace, *choices, "--out", out, "--paths-out", paths, "--json")
        assert status == 0, err
        flows, hops = read(out), read(paths)
        assert np.allclose(hops[hops.hop == 0].groupby("flow").share.sum(), 1)
        np.testing.assert_allclose(flows.finish_s, _solved(flows, hops, split == "pooled"), rtol=1e-9)


def _solved(flows: pd.DataFrame, hops: pd.DataFrame, pooled: bool) -> list[float]:
    """Return finish times from the two tables alone; links are told apart by number, order of hops by ``hop``."""
    capacity = {link: Fraction(bps) for link, bps in zip(hops.link, hops.capacity_bps, strict=True)}
    delay = {link: Fraction(latency) for link, latency in zip(hops.link, hops.latency_s, strict=True)}
    assert len(hops[["link", "from", "to", "capacity_bps", "latency_s"]].drop_duplicates()) == len(capacity)
    transfers = []
    for flow in flows.itertuples():
        own = hops[hops.flow == flow.id].sort_values(["subflow", "hop"])
        paths = [group.link.tolist() for _, group in own.groupby("subflow")]
        assert all((group["to"].to_numpy()[:-1] == group["from"].to_numpy()[1:]).all() for _, group in own.groupby("subflow"))
        transfers.append(Transfer(Fraction(flow.start_s), 8 * Fraction(flow.bytes), paths))
    return [float(moment) for moment in finish_times(capacity, delay, transfers, pooled)]
