"""The tests. `tests/lib` is plumbing; every other folder tests what it is named after."""
