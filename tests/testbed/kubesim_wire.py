"""Reads what Go clients (Helm, kubectl) send in Kubernetes' protobuf encoding: the few kinds that they do send so.

Field numbers are those of upstream's generated.proto files: k8s.io/apimachinery/pkg/runtime (Unknown),
k8s.io/apimachinery/pkg/apis/meta/v1 and k8s.io/api/core/v1.
"""

import base64

MAGIC = b"k8s\0"
TEXT, NUMBER, FLAG, TEXTS, BYTES = "text", "number", "flag", "texts", "bytes"
META = {
    1: ("name", TEXT), 2: ("generateName", TEXT), 3: ("namespace", TEXT), 5: ("uid", TEXT),
    6: ("resourceVersion", TEXT), 11: ("labels", {TEXT}), 12: ("annotations", {TEXT}), 14: ("finalizers", TEXTS),
}  # fmt: skip
KINDS = {
    "Secret": {
        1: ("metadata", META), 2: ("data", {BYTES}), 3: ("type", TEXT), 4: ("stringData", {TEXT}),
        5: ("immutable", FLAG),
    },
    "ConfigMap": {1: ("metadata", META), 2: ("data", {TEXT}), 3: ("binaryData", {BYTES})},
    "Namespace": {1: ("metadata", META)},
    "DeleteOptions": {1: ("gracePeriodSeconds", NUMBER), 4: ("propagationPolicy", TEXT)},
}  # fmt: skip


def decode(data):
    """One object as the plain dictionary that its JSON would be; ValueError for a kind that is not known here."""
    if not data.startswith(MAGIC):
        raise ValueError("not protobuf of Kubernetes")
    unknown = dict(fields(data[len(MAGIC) :]))
    kind = dict(fields(unknown.get(1, b""))).get(2, b"").decode()
    if kind not in KINDS:
        raise ValueError(f"{kind} in protobuf")
    return message(unknown.get(2, b""), KINDS[kind])


def message(data, known):
    out = {}
    for number, value in fields(data):
        if number not in known:
            continue
        name, kind = known[number]
        if isinstance(kind, set):  # a map: each entry is a message of key and value
            entry = dict(fields(value))
            (inner,) = kind
            out.setdefault(name, {})[entry.get(1, b"").decode()] = plain(entry.get(2, b""), inner)
        elif isinstance(kind, dict):
            out[name] = message(value, kind)
        elif kind == TEXTS:
            out.setdefault(name, []).append(value.decode())
        elif kind == TEXT and not value:  # Go's encoder writes empty fields, too
            continue
        else:
            out[name] = plain(value, kind)
    return out


def plain(value, kind):
    if kind == TEXT:
        return value.decode()
    if kind == BYTES:
        return base64.b64encode(value).decode()
    return bool(value) if kind == FLAG else value


def fields(data):
    """Number and raw value of each field: an int, or bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = {1: 8, 5: 4}[tag & 7]
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
