"""The packet fidelity: RoCE with PFC, ECN and congestion control, event by event in integer picoseconds."""
