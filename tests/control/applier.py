"""Applies a chain by the extension, without the command's comfort, and prints the errno.

python applier.py PID NAME...
"""

import sys

from modnet import _native

try:
    _native.apply_chain(int(sys.argv[1]), sys.argv[2:])
except OSError as error:
    print(error.errno)
else:
    print(0)
