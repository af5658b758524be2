"""`python -m evalpoint` is the command line."""

from evalpoint.cli import main

main()
