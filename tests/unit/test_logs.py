"""The form of log lines."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from xds_server.base.logs import LogFormat, LogLevel, configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before, handlers = structlog.get_config(), list(root.handlers)
    yield
    structlog.configure(**before)
    root.handlers = handlers


def log_all() -> None:
    log = structlog.stdlib.get_logger("xds_server.room.module")
    log.info("one")
    log.warning("two", why="a reason")
    log.error("three")


def test_a_line_has_the_name_of_its_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON)
    log_all()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["logger"] for line in lines} == {"xds_server.room.module"}
    assert [line["event"] for line in lines] == ["one", "two", "three"]
    assert lines[1]["why"] == "a reason"
    configure_logging(LogFormat.TEXT)
    log_all()
    assert "[xds_server.room.module]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_less_severe_lines_are_left_out(
    level: LogLevel, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogFormat.JSON, level=level)
    log_all()
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == expected
