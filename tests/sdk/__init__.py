"""The Python SDK, without sockets or processes: settings, loading, hooks' rules, built-in modules,
examples.
"""
