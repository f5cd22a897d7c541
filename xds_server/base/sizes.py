"""Units of memory, in bytes."""

from typing import Final

MIB: Final = 1024 * 1024
