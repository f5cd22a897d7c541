"""``python -m xds_server.cli``."""

from xds_server.cli import main

main()
