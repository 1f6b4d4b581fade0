"""A study as a grid of runs: overrides over scenarios, fabrics and seeds, on this machine or on many."""
