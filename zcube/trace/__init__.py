"""Communication traces: what an engine's GPUs compute and send, operation by operation, with what each waits for."""
