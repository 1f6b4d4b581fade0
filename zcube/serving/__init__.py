"""The serving system as SimPy processes: arrival, router, prefill, KV transfer, decode; and the metrics of a run."""
