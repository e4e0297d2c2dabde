"""A module in Python: README.md shows it, `make demo` runs it behind nginx."""

import modnet


class Shout(modnet.Module):
    """Answers in capitals."""

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        """Gets the bytes that the server sends; what it returns goes to the client."""
        return bytes(data).upper()
