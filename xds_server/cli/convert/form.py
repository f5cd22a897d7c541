"""How `convert` prints what is to be done; apart, so that the command line need not load the rest for it."""

from enum import StrEnum


class Output(StrEnum):
    """Lines of kubectl, or patches for a kustomization."""

    KUBECTL = "kubectl"
    YAML = "yaml"
