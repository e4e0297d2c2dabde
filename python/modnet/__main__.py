"""`python -m modnet` is the command `modnet`."""

from modnet.cli import main

main()
