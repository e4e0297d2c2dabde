"""A client that loads an HTTP server with well- and ill-behaved connections and checks every byte it gets
back.

| file | holds |
| --- | --- |
| `tree` | the generated files: sizes, bytes, digests |
| `connection` | one HTTP connection: sending, checked reading, half-close, reset |
| `scenarios` | what a connection does, and how it may end natively |
| `load` | N connections at concurrency C, outcomes counted |

Every connection ends in an *outcome*: `ok`, `short` (a correct beginning, then EOF), `reset` (a correct
beginning, then a reset), `gone` (the client left). A wrong byte, a hang, a refused connection are never
allowed, and the others only where a client may see them natively.
"""
