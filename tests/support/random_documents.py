"""Documents of other projects at random: of few hosts, paths, methods and headers, so that rules overlap."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

Doc = dict[str, Any]

NAMESPACE: Final = "random"
_PATHS = ("/", "/a", "/a/", "/a/b", "/ab", "/b", "/b/")
_HEADERS, _VALUES = ("x-t", "x-u"), ("1", "blue")
_HOSTS = ("a.random.example.com", "b.random.example.com", "*.random.example.com")
_STABLE, _NEXT = ("shop", "shop", "shop", "shop", "users"), ("shop-next", "lab")


def world() -> list[Doc]:
    """Services and Deployments of all names that the documents have."""
    return [
        doc
        for name in (*dict.fromkeys(_STABLE), *_NEXT)
        for doc in (
            _doc("v1", "Service", name, {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}),
            _doc("apps/v1", "Deployment", name, {"template": {"metadata": {"labels": {"app": name}}}}),
        )
    ]


def _doc(version: str, kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Doc:
    its = {"name": name, "namespace": NAMESPACE, **metadata}
    return {"apiVersion": version, "kind": kind, "metadata": its, "spec": spec}


def _some(chance: random.Random, values: tuple[str, ...], most: int) -> list[str]:
    return chance.sample(values, chance.randint(1, most))


def _often(chance: random.Random, share: float, made: Doc) -> Doc:
    return made if chance.random() < share else {}


def gateway_api(chance: random.Random) -> list[Doc]:
    kinds = ("PathPrefix", "PathPrefix", "Exact", "RegularExpression")

    def match() -> Doc:
        header = {"name": chance.choice(_HEADERS), "value": chance.choice(_VALUES)}
        return {
            **_often(chance, 0.8, {"path": {"type": chance.choice(kinds), "value": chance.choice(_PATHS)}}),
            **_often(chance, 0.3, {"method": chance.choice(("GET", "POST"))}),
            **_often(chance, 0.3, {"headers": [header]}),
            **_often(chance, 0.1, {"queryParams": [{"name": "q", "value": "1"}]}),
        }

    def rule() -> Doc:
        mirror = {
            "backendRef": {"name": chance.choice(_NEXT), "port": 80},
            **_often(chance, 0.3, {"percent": 50}),
        }
        return {
            "matches": [match() for _ in range(chance.randint(0, 2))],
            "backendRefs": [{"name": chance.choice(_STABLE), "port": 80}],
            **_often(chance, 0.6, {"filters": [{"type": "RequestMirror", "requestMirror": mirror}]}),
        }

    def route(name: str) -> Doc:
        rules = [rule() for _ in range(chance.randint(1, 4))]
        spec = {"hostnames": _some(chance, _HOSTS, 2), "rules": rules}
        return _doc("gateway.networking.k8s.io/v1", "HTTPRoute", name, spec)

    return [route(f"r{number}") for number in range(chance.randint(1, 3))]


def istio(chance: random.Random) -> list[Doc]:
    kinds = ("prefix", "prefix", "exact", "regex")

    def match() -> Doc:
        header = chance.choice(({"exact": chance.choice(_VALUES)}, {}))
        return {
            **_often(chance, 0.8, {"uri": {chance.choice(kinds): chance.choice(_PATHS)}}),
            **_often(chance, 0.3, {"method": {"exact": chance.choice(("GET", "POST"))}}),
            **_often(chance, 0.3, {"headers": {chance.choice(_HEADERS): header}}),
            **_often(chance, 0.15, {"withoutHeaders": {chance.choice(_HEADERS): {}}}),
        }

    def rule() -> Doc:
        return {
            "match": [match() for _ in range(chance.randint(0, 2))],
            "route": [{"destination": {"host": chance.choice(_STABLE)}}],
            **_often(chance, 0.6, {"mirror": {"host": chance.choice(_NEXT)}}),
            **_often(chance, 0.3, {"mirrorPercentage": {"value": 50}}),
        }

    def service(name: str) -> Doc:
        http = [rule() for _ in range(chance.randint(1, 4))]
        spec = {"hosts": _some(chance, (*_HOSTS, "shop", "users"), 2), "http": http}
        return _doc("networking.istio.io/v1", "VirtualService", name, spec)

    return [service(f"r{number}") for number in range(chance.randint(1, 2))]


def contour(chance: random.Random) -> list[Doc]:
    headers: tuple[Doc, ...] = ({"present": True}, {"exact": "1"}, {"notpresent": True}, {"contains": "b"})

    def route() -> Doc:
        path = {chance.choice(("prefix", "prefix", "exact")): chance.choice(_PATHS)}
        header = {"header": {"name": chance.choice(_HEADERS), **chance.choice(headers)}}
        mirror = {
            "name": chance.choice(_NEXT),
            "port": 80,
            "mirror": True,
            **_often(chance, 0.3, {"weight": 50}),
        }
        conditions = [_often(chance, 0.8, path), _often(chance, 0.3, header)]
        services = [{"name": chance.choice(_STABLE), "port": 80}, _often(chance, 0.6, mirror)]
        return {"conditions": list(filter(None, conditions)), "services": list(filter(None, services))}

    def proxy(name: str, **more: Any) -> Doc:
        spec = {"routes": [route() for _ in range(chance.randint(1, 3))], **more}
        return _doc("projectcontour.io/v1", "HTTPProxy", name, spec)

    def root(number: int) -> Doc:
        include = {"name": "child", "conditions": [{"prefix": chance.choice(_PATHS)}]}
        more = _often(chance, 0.5, {"includes": [include]})
        return proxy(f"r{number}", virtualhost={"fqdn": _HOSTS[number]}, **more)

    return [*(root(number) for number in range(chance.randint(1, 2))), proxy("child")]


def emissary(chance: random.Random) -> list[Doc]:
    specs: list[Doc] = []
    for _ in range(chance.randint(2, 6)):
        spec = {
            "hostname": chance.choice(_HOSTS[:2]),
            "prefix": chance.choice(("/", "/a/", "/a/b/")),
            "rewrite": "",
            "service": chance.choice(_STABLE),
            **_often(chance, 0.3, {"method": "GET"}),
            **_often(chance, 0.2, {"headers": {"x-t": chance.choice((True, "1"))}}),
            **_often(chance, 0.2, {"precedence": 1}),
        }
        shadow = {**spec, "service": chance.choice(_NEXT), "shadow": True}
        specs += [
            spec,
            *([{**shadow, **_often(chance, 0.3, {"weight": 50})}] if chance.random() < 0.6 else []),
        ]
    return [_doc("getambassador.io/v3alpha1", "Mapping", f"m{at}", spec) for at, spec in enumerate(specs)]


def nginx(chance: random.Random) -> list[Doc]:
    prefix = "nginx.ingress.kubernetes.io/"

    def path(text: str) -> Doc:
        kind = chance.choice(("Prefix", "Exact", "ImplementationSpecific"))
        service = {"name": chance.choice(_STABLE), "port": {"number": 80}}
        return {"path": text, "pathType": kind, "backend": {"service": service}}

    def ingress(name: str) -> Doc:
        annotations = {
            **_often(chance, 0.7, {f"{prefix}mirror-target": f"http://{chance.choice(_NEXT)}$request_uri"}),
            **_often(chance, 0.1, {f"{prefix}use-regex": "true"}),
            **_often(chance, 0.1, {f"{prefix}canary": "true"}),
        }
        rules = [
            {
                "host": chance.choice(_HOSTS),
                "http": {"paths": [path(each) for each in _some(chance, _PATHS, 3)]},
            }
            for _ in range(chance.randint(1, 2))
        ]
        return _doc("networking.k8s.io/v1", "Ingress", name, {"rules": rules}, annotations=annotations)

    return [ingress(f"i{number}") for number in range(chance.randint(1, 3))]


def apisix(chance: random.Random) -> list[Doc]:
    def route(name: str) -> Doc:
        paths = [path + chance.choice(("", "*")) for path in _some(chance, _PATHS, 2)]
        config = {"host": f"http://{chance.choice(_NEXT)}"}
        plugins = [{"name": "proxy-mirror", "enable": True, "config": config}]
        methods = {"methods": _some(chance, ("GET", "POST"), 2)}
        return {
            "name": name,
            "match": {"hosts": _some(chance, _HOSTS, 2), "paths": paths, **_often(chance, 0.3, methods)},
            "backends": [{"serviceName": chance.choice(_STABLE), "servicePort": 80}],
            **_often(chance, 0.6, {"plugins": plugins}),
        }

    spec = {"http": [route(f"h{number}") for number in range(chance.randint(1, 4))]}
    return [_doc("apisix.apache.org/v2", "ApisixRoute", "r", spec)]


MAKERS: Final[Mapping[str, Callable[[random.Random], list[Doc]]]] = {
    each.__name__: each for each in (apisix, contour, emissary, gateway_api, istio, nginx)
}
