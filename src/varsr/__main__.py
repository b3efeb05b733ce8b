"""python -m varsr."""

from varsr.cli.app import main

main()
