"""Where results are printed."""

from rich.console import Console


def wide_console(file_width: int = 120) -> Console:
    """The terminal as it is; a file gets lines of ``file_width``, which hold the table."""
    console = Console()
    return console if console.is_terminal else Console(width=file_width)
