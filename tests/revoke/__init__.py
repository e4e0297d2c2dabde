"""Revocation: bytes taken back through chains, by applications and by modules."""
