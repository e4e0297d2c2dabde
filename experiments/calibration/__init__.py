"""The floor of this machine: what single calls and one process switch cost. See README.md."""
