"""The one error of the experiments: what is missing or refused, and what to do about it, in one line.

Rule: `main` functions print it without a traceback and exit with status 2.
It must not be raised for a bad figure: a figure that misses its bound is a check that is not ok.
"""


class ExperimentError(Exception):
    """The experiment cannot be run; the text says why and what to do."""
