# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Reads what Go clients (Helm, kubectl) send in Kubernetes' protobuf encoding: the few kinds that they do send so.

Field numbers are those of upstream's generated.proto files: k8s.io/apimachinery/pkg/runtime (Unknown),
k8s.io/apimachinery/pkg/apis/meta/v1 and k8s.io/api/core/v1.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..objects import KubeObject

MAGIC = b"k8s\0"
Raw = int | bytes
"""a value as it is sent"""


class Scalar(enum.Enum):
    """Values without parts."""

    TEXT = enum.auto()
    NUMBER = enum.auto()
    FLAG = enum.auto()
    BYTES = enum.auto()


@dataclass(frozen=True)
class Several:
    """A field that may come several times."""

    of: Scalar


@dataclass(frozen=True)
class Map:
    """Texts -> values."""

    of: Scalar


@dataclass(frozen=True)
class Message:
    """A value of fields, by their numbers."""

    fields: Mapping[int, Field]


@dataclass(frozen=True)
class Field:
    """A field and its name in JSON."""

    name: str
    kind: Scalar | Several | Map | Message


_TEXTS, _BYTES = Map(Scalar.TEXT), Map(Scalar.BYTES)
_META = Message({
    1: Field("name", Scalar.TEXT), 2: Field("generateName", Scalar.TEXT), 3: Field("namespace", Scalar.TEXT),
    5: Field("uid", Scalar.TEXT), 6: Field("resourceVersion", Scalar.TEXT), 11: Field("labels", _TEXTS),
    12: Field("annotations", _TEXTS), 14: Field("finalizers", Several(Scalar.TEXT)),
})  # fmt: skip
_KINDS = {
    "Secret": Message({
        1: Field("metadata", _META), 2: Field("data", _BYTES), 3: Field("type", Scalar.TEXT),
        4: Field("stringData", _TEXTS), 5: Field("immutable", Scalar.FLAG),
    }),
    "ConfigMap": Message({1: Field("metadata", _META), 2: Field("data", _TEXTS), 3: Field("binaryData", _BYTES)}),
    "Namespace": Message({1: Field("metadata", _META)}),
    "DeleteOptions": Message({
        1: Field("gracePeriodSeconds", Scalar.NUMBER), 4: Field("propagationPolicy", Scalar.TEXT),
    }),
}  # fmt: skip


def decode(data: bytes) -> KubeObject:
    """One object as the plain dictionary that its JSON would be.

    :raises ValueError: of a kind that is not known here.
    """
    if not data.startswith(MAGIC):
        raise ValueError("not protobuf of Kubernetes")
    unknown = dict(_fields(data[len(MAGIC) :]))
    type_meta = dict(_fields(_bytes(unknown.get(1, b""))))
    kind = _bytes(type_meta.get(2, b"")).decode()
    if kind not in _KINDS:
        raise ValueError(f"{kind} in protobuf")
    return _message(_bytes(unknown.get(2, b"")), _KINDS[kind])


def _message(data: bytes, message: Message) -> KubeObject:
    decoded: KubeObject = {}
    for number, value in _fields(data):
        field = message.fields.get(number)
        if field is None:
            continue
        match field.kind:
            case Map(of):
                entry = dict(_fields(_bytes(value)))
                name = _bytes(entry.get(1, b"")).decode()
                decoded.setdefault(field.name, {})[name] = _plain(entry.get(2, b""), of)
            case Message():
                decoded[field.name] = _message(_bytes(value), field.kind)
            case Several(of):
                decoded.setdefault(field.name, []).append(_plain(value, of))
            case Scalar():
                if field.kind is not Scalar.TEXT or value:  # Go's encoder writes empty fields, too
                    decoded[field.name] = _plain(value, field.kind)
    return decoded


def _plain(value: Raw, kind: Scalar) -> str | int | bool:
    match kind:
        case Scalar.TEXT:
            return _bytes(value).decode()
        case Scalar.BYTES:
            return base64.b64encode(_bytes(value)).decode()
        case Scalar.FLAG:
            return bool(value)
        case Scalar.NUMBER:
            return _number(value)


def _bytes(value: Raw) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where there are to be bytes")
    return value


def _number(value: Raw) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where there is to be a number")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, Raw]]:
    """Number and raw value of each field."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if tag & 7 == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}[tag & 7]
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
