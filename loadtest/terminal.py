"""Where results are printed."""

from rich.console import Console

FILE_WIDTH = 120


def wide_console() -> Console:
    """The terminal as it is; a file gets lines that hold the table."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)
