"""Texts that a peer chose, made fit for a terminal, a log and a table."""


def plain(text: str, limit: int) -> str:
    """At most `limit` characters of `text` on one line. What is not printable (control characters, changes of
    the writing direction) becomes a space: a peer's text must not steer the terminal of whoever reads it."""
    # Cut before looking at every character: a peer may send megabytes.
    cut = text[: limit + 1]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else " " for each in cut)
    words = " ".join(cut.split())
    return words if len(text) <= limit else words[: limit - 1].rstrip() + "…"
