"""Plumbing shared by the tests: users, places, processes and the modules they run under.

| file | holds |
| --- | --- |
| `users` | as whom a server runs, and which interpreter that user can start |
| `place` | a directory, a port and a runtime directory of one server's own |
| `process` | starting by argv, waiting for a port, ending a whole family of processes |
| `census` | what exists before and after: processes, registry files, descriptors |
| `variants` | natively, or under which modules |

Nothing here asserts: it raises `Broken` with the logs, and tests compare.
"""
