"""Label selectors of Deployments, as the API server matches and writes them."""

from collections.abc import Mapping

from xds_server.model.objects import LabelRequirement, LabelSelector


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether `labels` satisfy `selector`. An empty selector matches nothing here: the API refuses a
    Deployment that has one, and "everything in the namespace" must never come of a mistake."""
    if not selector.match_labels and not selector.match_expressions:
        return False
    return labels.items() >= (selector.match_labels or {}).items() and all(
        _holds(requirement, labels) for requirement in selector.match_expressions or ()
    )


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    listed = present and labels[requirement.key] in (requirement.values or ())
    match requirement.operator:
        case "In":
            return listed
        case "NotIn":
            return not listed
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case _:
            return False


def as_query(selector: LabelSelector) -> str:
    """The selector in the form of the API's ``labelSelector`` parameter, in a stable order."""
    terms = [f"{key}={value}" for key, value in sorted((selector.match_labels or {}).items())]
    for requirement in sorted(selector.match_expressions or (), key=lambda r: (r.key, r.operator)):
        values = ",".join(sorted(requirement.values or ()))
        match requirement.operator:
            case "In":
                terms.append(f"{requirement.key} in ({values})")
            case "NotIn":
                terms.append(f"{requirement.key} notin ({values})")
            case "Exists":
                terms.append(requirement.key)
            case "DoesNotExist":
                terms.append(f"!{requirement.key}")
    return ",".join(terms)
