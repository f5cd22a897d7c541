"""A directory of YAML files as a source."""
