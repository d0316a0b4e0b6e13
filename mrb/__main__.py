"""`python -m mrb`: the command line, for launchers that start a module."""

from mrb.cli.main import main

main()
