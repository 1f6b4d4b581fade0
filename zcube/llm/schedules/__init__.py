"""What engines send, as schedules: who sends how much to whom, after what, in which layer.

``node_prefill`` is prefill inside a node, ``expert_prefill`` prefill of a group of nodes that share the experts, ``decode`` the
conventional decode steps; the latter two run an ``expert_pipeline`` over ``normal_exchange`` (sizes: ``normal_plan``) and
``low_latency_exchange``, with the token counts of ``expert_routing``. ``kv_plans`` (with ``slices``) and ``kv_push`` are the KV
transfer, ``engines`` whole engines from ``options``, put together by ``assembly``. A serving run asks ``kv_plans`` and
``normal_plan`` for its bytes. Every schedule appends to a
:class:`~zcube.trace.builder.TraceBuilder`; rank = node * 8 + GPU.
"""
