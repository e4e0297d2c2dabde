"""What it costs to choose a flow's modules at its first request, and to leave. See README.md."""
