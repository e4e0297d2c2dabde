"""Inspection: states that the kernel writes, the sampled way, and who may have which."""
