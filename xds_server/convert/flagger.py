"""Flagger's Canary with ``mirror: true``."""

from collections.abc import Iterator

from xds_server.convert.found import Doc, Documents, Nothing, Shadow, Target, at, named, namespace_of, text

GROUP = "flagger.app"


def shadows(doc: Doc, _docs: Documents) -> Iterator[Shadow | Nothing]:
    """The mirror of a Canary, if its analysis has one."""
    analysis = at(doc, "spec", "analysis") or at(doc, "spec", "canaryAnalysis")
    if text(doc, "kind") != "Canary" or at(analysis, "mirror") is not True:
        return
    origin = named(doc)
    kind, name = text(doc, "spec", "targetRef", "kind"), text(doc, "spec", "targetRef", "name")
    if kind != "Deployment":
        yield Nothing(origin, f"its target is a {kind or 'nothing'}, and a shadow is a Deployment")
        return
    service = text(doc, "spec", "service", "name") or name
    found = Shadow(origin, namespace_of(doc), service, Target(name, "", sure=True))
    weight = text(analysis, "mirrorWeight")
    if weight and weight != "100":
        found.annotations["percent"] = weight
    found.lost += [
        "promotion, rollback and metric analysis: xds-shadow mirrors, and you decide",
        f"Flagger's own Deployment {name}-primary: keep a stable one behind Service {service} yourself",
    ]
    if at(analysis, "iterations") is not None or text(analysis, "interval"):
        found.lost.append("iterations at an interval: xds-shadow.io/until ends a shadow at a time")
    yield found
