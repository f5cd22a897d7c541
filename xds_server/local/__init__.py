"""What stands in for a cluster on a laptop: an API server small enough to read, and the demo."""
