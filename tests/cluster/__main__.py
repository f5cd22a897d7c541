"""``python -m tests.cluster [PYTEST OPTION...]``: build the control plane, run ``pytest -m cluster`` on it.

Where the machine lacks what this needs, the command prints the reason and succeeds.
"""

import os
import sys

from tests.cluster.program import build, missing

_NAMESPACES = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


def main() -> None:
    """Replace this process by the one that runs the tests in new namespaces."""
    reason = missing()
    if reason:
        print(f"test-cluster skipped: {reason}")
        return
    print("Building the Kubernetes control plane. The first build takes up to half an hour.", flush=True)
    build()
    os.execvp("unshare", [*_NAMESPACES, sys.executable, "-m", "tests.cluster.run", *sys.argv[1:]])  # noqa: S606 - no shell is needed


if __name__ == "__main__":
    main()
