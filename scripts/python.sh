#!/bin/sh
# Prints the path of a Python interpreter, 3.11 or newer, that can make virtual environments.
#
# The path is the real binary: pyenv's `python3` is a shell script that is slow and that a preloaded shim
# would be loaded into. $PYTHON, where set, is the only candidate. Installs nothing.
set -u

check='import os, sys
try:
    import ensurepip, venv
except ImportError:
    sys.exit(1)
if sys.version_info < (3, 11):
    sys.exit(1)
print(os.path.realpath(sys.executable))'

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
    if path=$("$candidate" -c "$check" 2>/dev/null); then
        echo "$path"
        exit 0
    fi
done
echo "modnet: no Python 3.11 or newer with venv found; install python3 and python3-venv, or set PYTHON" >&2
exit 1
