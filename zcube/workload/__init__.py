"""Request traces: what users ask of the engine, and when.

``requests`` holds the trace type, ``readers`` reads published traces, ``ticks`` undoes quantised timestamps and
``coding_agent`` generates coding-agent sessions.
"""
