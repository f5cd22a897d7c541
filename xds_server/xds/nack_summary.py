"""The message of a NACK, shortened for people."""

from typing import Final

from xds_server.base.text import plain
from xds_server.xds.nack_text import without_printed_resources

_NESTED: Final = "embedded message failed validation | caused by "


def summary(message: str, limit: int) -> str:
    """At most `limit` characters on one line, the reason among them where Envoy gave one."""
    return plain(without_printed_resources(message).replace(_NESTED, ""), limit)
