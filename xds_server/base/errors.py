"""The exceptions of the program. A user's mistake in a Kubernetes object is data (`core.conditions`), not an
exception: an exception means that a whole operation failed. Errors of libraries are wrapped with ``from``
where they are raised."""


class XdsShadowError(Exception):
    """The base class. The command line prints the message and exits with 1."""


class UsageError(XdsShadowError):
    """An option or argument is invalid. The command line exits with 2."""


class YamlError(XdsShadowError):
    """A text is not valid YAML, or would take far more resources to read than its length suggests. The
    message has the position."""


class SourceError(XdsShadowError):
    """A source of Kubernetes objects cannot be opened at all, for example because the directory does not
    exist."""


class UnknownNameError(XdsShadowError):
    """Nothing has the name that was asked for."""


class AmbiguousNameError(XdsShadowError):
    """Several things have the name that was asked for."""


class DanglingReferenceError(XdsShadowError):
    """A snapshot refers to a resource that it does not have. A bug in this program; the last valid snapshot
    stays in use."""


class LocalReplyError(XdsShadowError):
    """A filter of a shadow cluster could end an Envoy. A bug in this program; the last valid configuration
    stays in use."""


class RequestError(XdsShadowError):
    """A peer violated the xDS protocol and its stream ends with ``INVALID_ARGUMENT``."""


class RequestDeniedError(RequestError):
    """A peer is not authorized; its stream ends with ``PERMISSION_DENIED``."""


class RequestLimitError(RequestError):
    """A peer exceeded a limit; its stream ends with ``RESOURCE_EXHAUSTED``."""
