"""The images that the project's are built from: those of the registry, or, where none answers, the same made
here from Debian's own packages and the Envoy of PyPI.

Those made here are harder on the Dockerfile than the registry's: while it builds, nothing can be fetched, and
what it runs on has a Python and no shell.
"""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.compose.engine import Engine, NoEngineError, run
from xds_server.local.demo.envoy import envoy_binary

ROOT = Path(__file__).parents[2]
_LOCKS = ("requirements-runtime.lock", "requirements-image.lock")
_BUILD, _BASE, _ENVOY = (f"xds-shadow-test-{name}" for name in ("build", "base", "envoy"))
_RUNTIME = (  # what is left of Debian where only Python runs
    *("lib", "lib64", "usr/lib", "usr/lib64", "usr/bin/python3", "usr/bin/python3.11"),
    *("usr/share/zoneinfo", "usr/share/ca-certificates"),
    *("etc/ssl", "etc/passwd", "etc/group", "etc/nsswitch.conf"),
)


def base_images(engine: Engine) -> Mapping[str, str]:
    """The variables that tell `docker-compose.yml` which images to use; none if the registry has them.

    Raises:
        NoEngineError: no registry answers, and what is needed to make them is missing.
    """
    with contextlib.suppress(AssertionError):
        for image in _wanted():
            engine.docker("pull", "--quiet", image)
        return {}
    if shutil.which("debootstrap") is None:
        raise NoEngineError("no registry answers, and debootstrap, to make base images here, is missing")
    with tempfile.TemporaryDirectory(prefix="xds-shadow-images-") as directory:
        debian = _debian(Path(directory))
        _import(engine, _BUILD, debian, (".",), executable=None)
        _import(engine, _BASE, debian, _RUNTIME, executable=None)
        _import(engine, _ENVOY, debian, _RUNTIME, executable=_envoy())
    return {
        "BUILD_IMAGE": _BUILD,
        "BASE_IMAGE": _BASE,
        "BASE_IMAGE_PYTHON": "/usr/bin/python3",
        "ENVOY_IMAGE": _ENVOY,
        "DOCKER_BUILDKIT": "0",  # the other builder asks a registry for them although they are here
    }


def _wanted() -> Iterator[str]:
    """The images that the files name unless told otherwise."""
    compose = (ROOT / "docker-compose.yml").read_text()
    for variable in ("BUILD_IMAGE", "BASE_IMAGE", "ENVOY_IMAGE"):
        [image] = set(re.findall(rf"\$\{{{variable}:-([^}}]+)\}}", compose))
        yield image


def _debian(directory: Path) -> Path:
    """A Debian 12, whose Python is 3.11. Its pip installs from the archives of the lock files alone."""
    debian, wheels = directory / "debian", directory / "wheels"
    include = "--include=python3-pip,ca-certificates,tzdata"
    with subprocess.Popen(
        ["debootstrap", "--variant=minbase", include, "bookworm", str(debian)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as making:
        for lock in _LOCKS:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
            subprocess.run([*download, "--dest", wheels, "--requirement", ROOT / lock], check=True)
        output, _ = making.communicate()
    assert making.returncode == 0, output.decode()[-2000:]
    wheels.rename(debian / "wheels")
    (debian / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return debian


def _envoy() -> Path:
    """The program itself: what `envoy_binary` gives may be a script of Python's that starts it."""
    found = run([sys.executable, "-c", "import importlib.util as u; print(u.find_spec('envoy').origin)"], {})
    beside = Path(found.strip()).with_name("_bin") / "envoy"
    return beside if beside.exists() else Path(envoy_binary())


def _import(engine: Engine, tag: str, root: Path, paths: tuple[str, ...], *, executable: Path | None) -> None:
    """An image of these paths, and of a program for ``/usr/local/bin``."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in paths:
            archive.add(root / path, arcname=path, filter=_but_packages)
        if executable:
            archive.add(executable, arcname=f"usr/local/bin/{executable.name}")
    engine.docker("import", "-", tag, stdin=content.getvalue())


def _but_packages(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.startswith("./var/cache/apt") else entry
