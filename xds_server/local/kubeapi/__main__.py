"""``python -m xds_server.local.kubeapi``: the embedded API alone."""

import argparse
import asyncio
import sys
from pathlib import Path

from xds_server.base.address import parse_address
from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.local.kubeapi.run import run


def main() -> int:
    """Parse the command line and serve; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m xds_server.local.kubeapi", description=__doc__)
    parser.add_argument("--data", type=Path, help="directory to keep objects in; without it, in memory")
    parser.add_argument("--listen", default="127.0.0.1:8001", metavar="HOST:PORT")
    parser.add_argument("--kubeconfig", type=Path, help="kubeconfig to write")
    parser.add_argument("--ready-file", type=Path, help="file to write when requests are answered")
    parser.add_argument("--insecure", action="store_true", help="listen on more than loopback")
    arguments = vars(parser.parse_args())
    try:
        arguments["listen"] = parse_address(arguments["listen"], option="--listen")
        asyncio.run(run(**arguments))
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except XdsShadowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
