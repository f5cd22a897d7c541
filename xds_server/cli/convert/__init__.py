"""Converts the mirrors of other projects to labels and annotations: YAML documents in, kubectl commands
out."""
