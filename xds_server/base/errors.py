"""The one tree of exceptions. A user's mistake in a Kubernetes object is data (`core.problems`), not one
of these: an exception here means that a whole operation cannot go on. Errors of libraries are wrapped at
the edge with ``from``.
"""


class XdsShadowError(Exception):
    """Root of the tree; the command line prints its text and exits with 1."""


class UsageError(XdsShadowError):
    """An option or argument is wrong; the command line exits with 2."""


class YamlError(XdsShadowError):
    """A text is not valid YAML, with the place, or would cost far more to read than it is long."""


class SourceError(XdsShadowError):
    """A source of Kubernetes objects cannot be opened at all (no such directory, unreadable kubeconfig)."""


class DanglingReferenceError(XdsShadowError):
    """A snapshot names a resource that it does not hold. A bug of ours; the last good snapshot stays."""


class RequestError(XdsShadowError):
    """A peer broke the xDS protocol in a way that ends its stream (``INVALID_ARGUMENT``)."""


class RequestDeniedError(RequestError):
    """A peer is not who may ask for this (``PERMISSION_DENIED``)."""


class RequestLimitError(RequestError):
    """A peer asked for more than one stream may have (``RESOURCE_EXHAUSTED``)."""
