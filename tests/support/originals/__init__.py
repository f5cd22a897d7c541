"""What the documents of other projects do, told request by request: a small interpreter for each project.

They share nothing with `xds_server.cli.convert`. Each is written from its project's documentation, reads the
documents as plain mappings, and says of one request which Services may get it and to whom it is mirrored.
"""
