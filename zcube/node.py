"""The node an engine runs on."""

#: GPUs of a node, one to a rail: HGX and DGX H100, H200 and B200, and every deployment that the engines' layouts are read from.
GPUS_PER_NODE = 8
