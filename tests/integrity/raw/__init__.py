"""TCP without a protocol of anybody else's: patterns that name their flow and offset, every order of ends.

`peer.c` is the server, told by each connection what to do and asked afterwards what it saw; `echo.py` holds
three echo servers in Python. `flows` is the client.
"""
