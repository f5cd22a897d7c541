"""The lists of fields in docs/migration.md are made of the readers' structs."""

from pathlib import Path

import pytest

from xds_server.cli.convert.tables import main, page

PAGE = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
MARKER = "<!-- What follows is made by scripts/generate. -->\n"


def test_the_page_lists_the_fields_that_the_readers_know() -> None:
    _, _, made = PAGE.partition(MARKER)
    assert made == "\n".join(page()) + "\n"


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert capsys.readouterr().out == "\n".join(page()) + "\n"
