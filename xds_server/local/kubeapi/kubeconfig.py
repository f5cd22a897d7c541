"""Writes a kubeconfig for the embedded API."""

from pathlib import Path
from typing import Final

from xds_server.base.errors import XdsShadowError
from xds_server.base.files import replace_file
from xds_server.local.kubeapi.codec import write_yaml

CONTEXT: Final = "xds-shadow"
"""The name of the context, the cluster and the user."""


def write_kubeconfig(path: Path, url: str) -> None:
    """Write the file atomically, readable by its owner only.

    Raises:
        XdsShadowError: the file cannot be written.
    """
    doc = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": url}}],
        "users": [{"name": CONTEXT, "user": {}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "current-context": CONTEXT,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, write_yaml(doc), private=True)
    except OSError as error:
        raise XdsShadowError(f"{path}: cannot be written: {error.strerror}") from error
