"""Windows into a running server, read-only. Nothing here can change what is served."""
