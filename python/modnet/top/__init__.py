"""Flows as an operator looks at them: what `modnet top` and `modnet watch` show.

| file | holds |
| --- | --- |
| `rows.py` | a line for each flow, from what modules publish at two moments |
| `view.py` | which lines, in which order, in which words |
| `series.py`, `chart.py` | one flow over time, and how it is drawn in characters |
| `picture.py` | the same as a picture |
| `screen.py` | the terminal: draws lines, hears keys |

Rules: everything comes from the modules' control sockets, asked once an interval; nothing is asked on a
flow's own path. Only `screen.py` knows a terminal.
"""
