"""What is wrong with something a user wrote, or worth knowing of it: data that travels to ``status``, never
an exception."""

from typing import NamedTuple


class Problem(NamedTuple):
    """One mistake. `subject` is the object ("Service staging/myapp") or, where none could be read, empty;
    `origin` is the file or the watch it came from, or empty; `reason` is a stable CamelCase word; `message`
    is one sentence that says what is wrong and what to do."""

    subject: str
    reason: str
    message: str
    origin: str = ""


class Notice(NamedTuple):
    """What is as it was written and may still surprise: no mistake, so nothing alerts on it. The fields are
    those of a `Problem`."""

    subject: str
    reason: str
    message: str
