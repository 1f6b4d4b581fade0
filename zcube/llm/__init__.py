"""What an LLM engine sends and how long it computes; it knows no topology.

``cards`` holds the models, ``kv`` the size of a KV cache, ``rankmap`` who sends it to whom, ``expert_traffic`` the
expert all-to-all, ``compute`` the compute times of a node (from ``devices``, ``attention``, ``experts`` and
``node_links``), ``tables`` the measured ones, ``compute_choice`` which of both, ``engine_layout`` how the engine is laid out.
``schedules`` plans what is sent, and puts prefill, KV transfer and decode of whole engines into traces, ``decode_node`` is
TileRT's decode.
"""
