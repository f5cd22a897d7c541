"""Volumes as the kubelet lays them: the files are links into a directory that is swapped in one step, so that
a reader sees all of the old or all of the new.
"""

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

_VERSIONS = itertools.count()


def lay(directory: Path, files: Mapping[str, str | bytes]) -> None:
    """Make the volume's content be `files`, at first or in place of others (of the same names)."""
    directory.mkdir(parents=True, exist_ok=True)
    data, before = directory / "..data", directory / "..data"
    old = before.resolve() if before.exists() else None
    new = directory / f"..2026_01_01_00_00_00.{next(_VERSIONS)}"
    new.mkdir()
    for name, content in files.items():
        (new / name).write_bytes(content.encode() if isinstance(content, str) else content)
    link = directory / "..data_tmp"
    link.symlink_to(new.name)
    link.replace(data)
    for name in files:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path("..data", name))
    if old is not None:
        shutil.rmtree(old)
