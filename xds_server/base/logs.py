"""The format of log lines: those of the program, and those of the libraries that it uses."""

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
"""The most characters of a library's message."""

_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)
_log = structlog.stdlib.get_logger(__name__)


class LogFormat(StrEnum):
    """The format of log lines on standard error."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest severity that is logged."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure_logging(form: LogFormat, *, level: LogLevel = LogLevel.INFO) -> None:
    """Write log lines to standard error: as text for people, or as JSON for machines."""
    text = form is LogFormat.TEXT or (form is LogFormat.AUTO and sys.stderr.isatty())
    tail: list[structlog.types.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default prints local variables, one of which may hold a Secret.
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
    """Prints lines, and keeps the logger's name, which structlog's own factory drops."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self.name = name


class _Unfailing:
    """Ignores write errors: a full disk or a closed pipe must lose the line and not stop the program."""

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
    """Logs warnings and errors of libraries, one line of each kind per minute: a peer can cause many of them,
    and asyncio writes a traceback for every connection that it cannot accept."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._limit = LogLimit()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
            self._note_descriptors()
            return
        # asyncio formats its own messages; the first line says what happened.
        kind = (record.name, str(record.msg).partition("\n")[0], type(error))
        omitted_lines = self._limit.admit(kind, now=time.monotonic())
        if omitted_lines is not None:
            message = record.getMessage().partition("\n")[0][:_LONGEST]
            fields = {"library": record.name, "message": message, **omitted(omitted_lines)}
            _log.error("library error reported", **fields, exc_info=record.exc_info)

    def _note_descriptors(self) -> None:
        omitted_lines = self._limit.admit(_NO_DESCRIPTORS, now=time.monotonic())
        if omitted_lines is not None:
            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.error("file descriptors exhausted", limit=allowed, **omitted(omitted_lines))
