"""Bytes yanked out of the kernel's send buffer on live connections: is anything ever wrong, and the cost."""
