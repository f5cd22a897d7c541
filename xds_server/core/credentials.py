"""Finds the credential that a policy names in the observed Secrets.

A value is used only if it is a valid header value. No message repeats it.
"""

import base64
import binascii
import re
from typing import Final

from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.keys import ALLOW
from xds_server.core.objects import Kind
from xds_server.core.plan import Credential
from xds_server.core.sensitive import Sensitive
from xds_server.core.terms import SecretKey
from xds_server.core.world import NamespaceView

_MAX_LENGTH: Final = 8192
"""Bytes; Envoy's limit for all headers of a request is 60 KiB."""

_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")


def credential_of(
    view: NamespaceView, namespace: str, wanted: SecretKey, *, sendable: bool
) -> Credential | Condition:
    """The credential, or the condition that says why there is none. `sendable` is whether Envoys may be sent
    credentials."""
    subject = Subject(Kind.SECRET, namespace, wanted.name)
    if not sendable:
        return Condition(
            subject,
            Reason.CREDENTIAL_NEEDS_TLS,
            "It names a credential, and Envoys are served in plain text, where others can read it; serve them"
            " with --tls-cert, --tls-key and --tls-client-ca, or use --plaintext-credentials. Nothing is"
            " mirrored without the credential.",
        )
    secret = view.secrets.get(wanted.name)
    if secret is None or secret.labels.get(ALLOW) != "true":
        return Condition(
            subject,
            Reason.SECRET_NOT_FOUND,
            f"There is no {subject} with the label {ALLOW}=true, or none that xds-shadow may read;"
            " no requests are mirrored without the credential.",
        )
    text = (secret.data or {}).get(wanted.key)
    if text is None:
        return Condition(subject, Reason.SECRET_NOT_FOUND, f"{subject} has no key {wanted.key}.")
    try:
        # A Secret that was created from a file usually ends in a line break.
        value = base64.b64decode("".join(text.split()), validate=True).decode("ascii").strip()
    except (binascii.Error, ValueError):
        value = ""
    if not _VALUE.match(value) or len(value) > _MAX_LENGTH:
        return Condition(
            subject,
            Reason.INVALID_SECRET,
            f"Key {wanted.key} of {subject} cannot be a header's value: it has to be 1 to {_MAX_LENGTH}"
            " characters of printable ASCII.",
        )
    return Credential(f"{namespace}/{wanted}", Sensitive(value))
