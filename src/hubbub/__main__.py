"""`python -m hubbub` is the command line."""

from hubbub.cli import main

main()
