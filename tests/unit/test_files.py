"""Files that others read at any time."""

import os
import stat
from pathlib import Path

import pytest

from xds_server.base.files import replace_file


def test_a_reader_of_the_old_content_still_has_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old content")
    with path.open("rb") as opened:
        replace_file(path, b"new")
        assert opened.read() == b"old content"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o644)])
def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path, private: bool, mode: int) -> None:
    before = os.umask(0o022)
    try:
        replace_file(tmp_path / "file", b"", private=private)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    replace_file(path, b"content")
    assert path.read_bytes() == b"content"
