"""The Python hook that is measured: every outbound byte enters Python and leaves as it was."""

import modnet


class Identity(modnet.Module):
    """Returns its data."""

    def outbound(self, flow, data):  # type: ignore[no-untyped-def]  # a hook as a user would write it
        return data
