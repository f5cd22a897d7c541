"""Reads objects from directories of YAML and JSON files."""
