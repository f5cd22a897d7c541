"""How log lines look: the program's own, and those of the libraries it is built on."""

import contextlib
import errno
import logging
import resource
import sys
import time
from enum import StrEnum
from functools import partial
from typing import Final, TextIO, cast

import structlog

from xds_server.base.log_limit import LogLimit, omitted

_LONGEST: Final = 500
"""Characters of a library's message."""

_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)
_log = structlog.stdlib.get_logger(__name__)


class LogFormat(StrEnum):
    """How log lines look on standard error."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least severe lines that are logged."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure_logging(form: LogFormat, *, level: LogLevel = LogLevel.INFO) -> None:
    """Send log lines to standard error, as text for people and JSON for machines."""
    text = form is LogFormat.TEXT or (form is LogFormat.AUTO and sys.stderr.isatty())
    tail: list[structlog.types.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default shows local variables, and one of them may hold a Secret.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *tail,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.value),
        logger_factory=partial(_Logger, cast("TextIO", _Unfailing(sys.stderr))),
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _Libraries)]
    root.addHandler(_Libraries(logging.WARNING))


class _Logger(structlog.PrintLogger):
    """Prints lines, and keeps the name that structlog's own factory drops."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


class _Unfailing:
    """A stream whose errors cost the line alone: a disk that is full, or a pipe that nobody reads any more,
    must not end what wants to log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Libraries(logging.Handler):
    """Warnings and errors of libraries as lines of ours, one a minute of each kind: a peer can cause many of
    them, and asyncio writes a traceback for every connection that it cannot accept."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._limit = LogLimit()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
            self._note_descriptors()
            return
        # asyncio formats its messages itself; the first line says what happened.
        kind = (record.name, str(record.msg).partition("\n")[0], type(error))
        left_out = self._limit.admit(kind, now=time.monotonic())
        if left_out is not None:
            message = record.getMessage().partition("\n")[0][:_LONGEST]
            told = {"library": record.name, "message": message, **omitted(left_out)}
            _log.error("reported by a library", **told, exc_info=record.exc_info)

    def _note_descriptors(self) -> None:
        left_out = self._limit.admit(_NO_DESCRIPTORS, now=time.monotonic())
        if left_out is not None:
            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.error("out of file descriptors; new connections wait", limit=allowed, **omitted(left_out))
