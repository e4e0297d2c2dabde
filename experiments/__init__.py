"""One folder per figure of the paper: `python -m experiments.<name> [--quick] [--json]`.

Rules: everything an experiment shares with another lives in `common/` or `net.py`; a folder holds its
question, command and verdict in README.md. It must not be imported by the package `modnet`.
"""
