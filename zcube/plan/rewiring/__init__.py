"""Which NIC ports go to which switches, looked for by what the traffic at hand makes of it."""
