"""What every experiment shares: arguments, rounds, statistics, the report, drawing, servers, load, CPU time.

Rules: nothing here knows which figure is being measured. It must not import from an experiment's folder.
"""
