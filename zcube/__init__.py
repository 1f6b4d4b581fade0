"""zcube: decide on the network of a GPU cluster by simulating, pricing and comparing fabrics.

The rooms follow the data: ``fabric`` -> ``routing`` -> ``network`` -> ``serving`` -> ``compare`` -> ``report``;
``llm`` and ``workload`` feed ``serving``, ``cost`` feeds ``compare``.
"""

__version__ = "0.1.0"
