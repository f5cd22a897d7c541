"""The rooms of the program, as scripts/imports counts them: short files, few layers, no cycles."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def printed(checkout: Path = ROOT) -> str:
    command = [sys.executable, str(ROOT / "scripts" / "imports"), str(checkout)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_files_are_short_and_rooms_are_layers() -> None:
    found = printed()
    assert "files over 400 lines: none\n" in found
    assert "rooms in cycles: none\n" in found
    assert ", of which single modules: 0\n" in found
    layers = re.search(r"^layers \(the longest chain\): (\d+)$", found, re.MULTILINE)
    assert layers
    assert int(layers[1]) <= 10


def test_imports_cycles_and_long_files_are_counted(tmp_path: Path) -> None:
    for name, source in {
        "a/one.py": "from xds_server.b import two\nfrom xds_server import loose\n",
        "b/two.py": "def late():\n    import xds_server.a.one\n",
        "c/three.py": "from xds_server.c import other\n" + "\n" * 400,
        "loose.py": "import os\n",
        "pb/made.py": "import xds_server.c\n",
    }.items():
        path = tmp_path / "xds_server" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    lines = printed(tmp_path).splitlines()
    assert lines[:7] == [
        "rooms: 4, of which single modules: 1",
        "arrows between rooms: 3",
        "imports across rooms: 3",
        "rooms in cycles: a, b",
        "layers (the longest chain): 2",
        "lines without local (earlier: embedded, demo) and pb: 406",
        "files over 400 lines: xds_server/c/three.py (401)",
    ]
    assert lines[-4:] == [
        "a                    1       2  b 1, loose 1",
        "b                    1       2  a 1",
        "c                    1     401  -",
        "loose                1       1  -",
    ]
