"""The port that the fleet connects to: its gRPC server, its certificates, and who may see what."""
