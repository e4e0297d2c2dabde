"""`modnet.http`, the framer behind it, and the modules that use it."""
