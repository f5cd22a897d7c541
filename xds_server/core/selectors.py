"""Label selectors of workloads, with the semantics and the syntax of the API server."""

from collections.abc import Callable, Mapping

from xds_server.core.objects import LabelSelector


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether `labels` match `selector`. An empty selector matches nothing here: the API server rejects a
    workload that has one, and a mistake must never select all Pods of a namespace."""
    return matcher(selector)(labels)


def matcher(selector: LabelSelector) -> Callable[[Mapping[str, str]], bool]:
    """`matches` of one selector, for many labels."""
    wanted = (selector.match_labels or {}).items()
    rules = [(r.key, r.operator, frozenset(r.values or ())) for r in selector.match_expressions or ()]
    if not wanted and not rules:
        return lambda _: False
    if not rules:
        return lambda labels: labels.items() >= wanted
    return lambda labels: labels.items() >= wanted and all(_holds(labels, *rule) for rule in rules)


def _holds(labels: Mapping[str, str], key: str, operator: str, values: frozenset[str]) -> bool:
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
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
