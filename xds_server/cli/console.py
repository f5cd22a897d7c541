"""Output of tables, as the command line and the plugin print them."""

import sys

from rich.console import Console

_PIPED_WIDTH = 200


def console() -> Console:
    """Standard output. Tables that are piped are not folded at 80 columns."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
