"""Figure 4: adaptive compression against fixed levels, for fast and slow clients."""
