"""`python -m tradewire` is the command `tradewire`."""

from tradewire.cli import main

main(prog_name="tradewire")
