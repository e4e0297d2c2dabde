"""A module in Python that takes every byte through the interpreter and changes none."""

import modnet


class Identity(modnet.Module):
    """Copies both directions."""

    def outbound(self, flow, data):
        return bytes(data)

    def inbound(self, flow, data):
        return bytes(data)
