"""The queries to the API server, and the errors for requests that fail.

`api` sends requests, and `reflector` handles errors.
"""

from dataclasses import dataclass

from xds_server.base.errors import XdsShadowError
from xds_server.core.conditions import NO_SUBJECT, Condition, Reason
from xds_server.core.objects import Kind

_MAX_QUOTED = 300
"""Characters of a server's message that a condition repeats."""

_ALL_WATCHES = "kube"
"""The origin of a failure that all watches share. Its condition is equal for all, so it is shown once."""


@dataclass(frozen=True, slots=True, order=True)
class Query:
    """One list and watch: a kind, in one namespace or all, narrowed by a label selector or to a name."""

    kind: Kind
    namespace: str = ""
    labels: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """The path of the collection."""
        version = self.kind.api_version
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{scope}/{self.kind.resource}"

    @property
    def origin(self) -> str:
        """The name of the watch in reports. Only watches of Pods differ in nothing but the selector."""
        selector = self.labels if self.kind is Kind.POD else ""
        return "/".join(part for part in ("kube", self.kind, self.namespace, self.name, selector) if part)

    @property
    def selectors(self) -> list[tuple[str, str]]:
        """The query parameters that narrow it."""
        labels = [("labelSelector", self.labels)] if self.labels else []
        fields = [("fieldSelector", f"metadata.name={self.name}")] if self.name else []
        return labels + fields

    def __str__(self) -> str:
        if self.kind is Kind.NAMESPACE:
            return f"namespace {self.name}" if self.name else "namespaces"
        if self.kind is Kind.SECRET:
            return f"secret {self.name} in namespace {self.namespace}"
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.kind.resource} {where}"


class ApiError(XdsShadowError):
    """A request failed. `status` is HTTP's, or 0 if there was no response; `retry_after` is how many seconds
    the server asks to wait."""

    def __init__(self, status: int, problem: Condition) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem
        self.retry_after = 0.0


def rejection(query: Query, verb: str, status: int, detail: str) -> ApiError:
    """The error for a response with `status`. `detail` is the server's message, or empty."""
    said = f" (message: {detail[:_MAX_QUOTED]})" if detail else ""
    version = query.kind.api_version
    match status:
        case 401:
            reason = Reason.UNAUTHORIZED
            message = f"The API server does not accept the credentials to {verb} {query}{said}; renew them."
        case 403:
            reason = Reason.FORBIDDEN
            resource = f'"{query.kind.resource}" of API group "{version.rpartition("/")[0]}"'
            if query.kind is Kind.SECRET:
                resource += f' with resourceNames ["{query.name}"]'
            message = f"No permission to {verb} {query}{said}; grant list and watch on {resource}."
        case 404:
            reason = Reason.NOT_FOUND
            message = f"The API server serves no {query} at {version}{said}; check its version and address."
        case _:
            reason = Reason.API_UNAVAILABLE
            message = f"The API server responds with {status} to {verb} {query}{said}."
    return ApiError(status, Condition(NO_SUBJECT, reason, message, origin=query.origin))


def unreachable(cause: str) -> ApiError:
    """The error for a request without a complete response."""
    message = f"The API server cannot be reached ({cause[:_MAX_QUOTED]})."
    return ApiError(0, Condition(NO_SUBJECT, Reason.API_UNAVAILABLE, message, origin=_ALL_WATCHES))
