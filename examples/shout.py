"""modnet run -m examples/shout.py:Shout -- python3 -m http.server"""

import modnet


class Shout(modnet.Module):
    """Answers in capitals."""

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        """Gets the bytes that the server sends; what it returns goes to the client."""
        return bytes(data).upper()
