"""The output formats of `convert`. A module of its own, because the command line imports it at the start."""

from enum import StrEnum


class Output(StrEnum):
    """kubectl commands, or patches for a kustomization."""

    KUBECTL = "kubectl"
    YAML = "yaml"
