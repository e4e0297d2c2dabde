"""A module in Python: it answers in capitals. README.md shows it."""

import modnet


class Shout(modnet.Module):
    """Answers in capitals."""

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        """Called with the bytes that the server sends; what it returns goes to the client."""
        return bytes(data).upper()
