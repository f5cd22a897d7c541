"""Labels with the prefix of xds-shadow that it does not know."""

import msgspec

from tests.unit.pure.kube import canary, namespace, service
from xds_server.core.keys import EXPOSE, SHADOW_OF
from xds_server.core.objects import Deployment, Meta, Namespace, Service, ref_of
from xds_server.core.unknown_labels import UnknownLabels
from xds_server.core.world import Delete, Upsert


def labelled(obj: Service | Namespace | Deployment, *keys: str) -> Service | Namespace | Deployment:
    meta = Meta(name=obj.name, namespace=obj.metadata.namespace, labels=dict.fromkeys(keys, "true"))
    return msgspec.structs.replace(obj, metadata=meta)


def test_an_unknown_label_is_a_problem_of_its_object() -> None:
    objects = [
        labelled(service("web"), EXPOSE, "xds-shadow.io/exposed", "xds-shadow.io/envoy", "app"),
        labelled(namespace("staging"), "xds-shadow.io/expse", "xds-shadow.io/allows"),
        labelled(canary("next", "web"), SHADOW_OF, "xds-shadow.io/shadowof"),
        canary("fine", "web"),
    ]
    reports = UnknownLabels().note(map(Upsert, objects))
    keys = ["xds-shadow.io/expose", "xds-shadow.io/shadow-of", "xds-shadow.io/allow"]
    known = f"known are {', '.join(keys)} and xds-shadow.io/envoy."
    assert [
        (str(each.subject), each.reason, each.message) for found in reports for each in found.problems
    ] == [
        ("Service staging/web", "InvalidLabel", f"Label xds-shadow.io/exposed is not known; {known}"),
        (
            "Namespace staging",
            "InvalidLabel",
            f"Labels xds-shadow.io/allows, xds-shadow.io/expse are not known; {known}",
        ),
        ("Deployment staging/next", "InvalidLabel", f"Label xds-shadow.io/shadowof is not known; {known}"),
    ]


def test_a_report_is_made_once_and_withdrawn_with_the_label_or_the_object() -> None:
    wrong = labelled(service("web"), "xds-shadow.io/exposed")
    labels = UnknownLabels()
    [report] = labels.note([Upsert(wrong)])
    assert labels.note([Upsert(wrong)]) == []
    assert [(each.origin, each.problems) for each in labels.note([Upsert(service("web"))])] == [
        (report.origin, ())
    ]
    labels.note([Upsert(wrong)])
    assert [each.problems for each in labels.note([Delete(ref_of(wrong))])] == [()]
    assert labels.note([Delete(ref_of(wrong))]) == []
