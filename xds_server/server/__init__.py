"""The composition root: the pipeline's loop, listeners and identities, the status API, the page, metrics."""
