"""How bytes move: one protocol, several fidelities."""
