"""Values as bytes for the other processes of a job, without pickle.

A pickle runs what it says when it is opened, and whoever can reach a port of a process group can
send one. A message is data: JSON, and the numbers of arrays behind it. What it may become is a
closed set: plain values and containers, arrays and tensors, and dataclasses, named tuples, enums
and errors of our own packages, by name.

::

    8 bytes: length of the JSON | JSON | numbers of all arrays, one after another

Whatever is no plain value is an object with ``$``, which says what it is.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mmrlhf_jobs.errors import JobError, RunError

__all__ = ["decode", "encode"]

_LENGTH: Final = struct.Struct("<Q")
_PACKAGES: Final = ("mmrlhf_api", "mmrlhf_jobs")
_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_WRONG: Final = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def encode(value: object) -> bytes:
    """Return a value as a message.

    Raises:
        TypeError: It is, or holds, something that no message can be.
    """
    blobs = bytearray()
    text = json.dumps(_pack(value, blobs), separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, blobs])


def decode(message: bytes) -> Any:  # noqa: ANN401 - whatever was sent
    """Return the value of a message; tensors are on the CPU.

    Raises:
        RunError: It is no message of a process of this version.
    """
    try:
        (length,) = _LENGTH.unpack_from(message)
        start = _LENGTH.size + length
        content = json.loads(message[_LENGTH.size : start])
        return _unpack(content, memoryview(message)[start:])
    except _WRONG as error:
        raise RunError(
            f"another process of the job sent what is no message ({error}): do all nodes run the"
            " same image, and can nobody else reach their ports?"
        ) from error


def _pack(value: Any, blobs: bytearray) -> Any:  # noqa: ANN401, PLR0911 - a case a kind
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_pack(entry, blobs) for entry in value]
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return _pack_array(value, blobs)
    if isinstance(value, Enum):
        return {"$": "enum", "class": _name(kind), "value": _pack(value.value, blobs)}
    if isinstance(value, JobError):
        return {
            "$": "error",
            "class": _name(_own_base(kind)),
            "args": _pack(list(value.args), blobs),
            "state": _pack(dict(vars(value)), blobs),
        }
    fields = _fields(value)
    if fields is not None:
        packed = {name: _pack(entry, blobs) for name, entry in fields.items()}
        return {"$": "object", "class": _name(kind), "fields": packed}
    if isinstance(value, Mapping):
        entries = [[_pack(key, blobs), _pack(entry, blobs)] for key, entry in value.items()]
        return {"$": "dict", "value": entries}
    for name, container in (("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if kind is container:
            return {"$": name, "value": [_pack(entry, blobs) for entry in value]}
    if kind is bytes:
        return {"$": "bytes", "value": base64.b64encode(value).decode()}
    if isinstance(value, Path):
        return {"$": "path", "value": str(value)}
    if kind is datetime:
        return {"$": "time", "value": value.isoformat()}
    raise TypeError(f"a {kind.__module__}.{kind.__qualname__} cannot be sent to other processes")


def _pack_array(
    value: np.ndarray[Any, Any] | np.generic | torch.Tensor, blobs: bytearray
) -> dict[str, Any]:
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        packed = {"$": "tensor", "type": str(value.dtype).removeprefix("torch.")}
        content = flat.numpy().tobytes()
    else:
        if value.dtype.hasobject or value.dtype.names is not None:
            raise TypeError(f"an array of {value.dtype} cannot be sent to other processes")
        packed = {"$": "array" if isinstance(value, np.ndarray) else "scalar"}
        packed["type"] = value.dtype.str
        content = value.tobytes()
    start = len(blobs)
    blobs += content
    return {**packed, "shape": list(value.shape), "at": [start, len(blobs)]}


def _unpack(content: Any, blobs: memoryview) -> Any:  # noqa: ANN401, PLR0911 - a case a kind
    if isinstance(content, list):
        return [_unpack(entry, blobs) for entry in content]
    if not isinstance(content, dict):
        return content
    kind = content["$"]
    if kind in {"array", "scalar", "tensor"}:
        return _unpack_array(kind, content, blobs)
    if kind == "enum":
        return _find(content["class"], _is_enum)(_unpack(content["value"], blobs))
    if kind == "error":
        cls = _find(content["class"], _is_error)
        error = cls.__new__(cls)
        error.args = tuple(_unpack(content["args"], blobs))
        vars(error).update(_unpack(content["state"], blobs))
        return error
    if kind == "object":
        cls = _find(content["class"], _has_fields)
        return cls(**{name: _unpack(entry, blobs) for name, entry in content["fields"].items()})
    return _CONTAINERS[kind](_unpack(content["value"], blobs))


_CONTAINERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "dict": lambda entries: dict(map(tuple, entries)),
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "path": Path,
    "time": datetime.fromisoformat,
}


def _unpack_array(kind: str, content: Mapping[str, Any], blobs: memoryview) -> Any:  # noqa: ANN401
    start, stop = content["at"]
    shape = [int(size) for size in content["shape"]]
    numbers = bytes(blobs[start:stop])
    if kind == "tensor":
        dtype = getattr(torch, content["type"])
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"torch.{content['type']} is no type of numbers")
        if not numbers:  # nothing has no stride by which torch could view it
            return torch.empty(0, dtype=dtype).reshape(shape)
        flat = torch.from_numpy(np.frombuffer(numbers, np.uint8).copy())
        return flat.view(dtype).reshape(shape)
    kept = np.dtype(content["type"])
    if kept.hasobject:
        raise ValueError("an array of objects")
    array = np.frombuffer(numbers, kept).reshape(shape).copy()
    return array if kind == "array" else array[()]


def _fields(value: object) -> dict[str, Any] | None:
    """What an object of ours is made from; None when it is no dataclass and no named tuple."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if field.init
        }
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None


def _has_fields(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def _is_enum(cls: type) -> bool:
    return issubclass(cls, Enum)


def _is_error(cls: type) -> bool:
    return issubclass(cls, JobError)


def _own_base(cls: type) -> type:
    """The nearest class of ours that an error is of."""
    return next(base for base in cls.__mro__ if _is_ours(base.__module__))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _PACKAGES


def _name(cls: type) -> str:
    if not _is_ours(cls.__module__) or "<locals>" in cls.__qualname__:
        raise TypeError(
            f"a {cls.__module__}.{cls.__qualname__} cannot be sent to other processes: only classes"
            f" of {' and '.join(_PACKAGES)} can"
        )
    return f"{cls.__module__}:{cls.__qualname__}"


def _find(name: str, fits: Callable[[type], bool]) -> Any:  # noqa: ANN401 - a class
    """Return a class of ours by name."""
    module, _, path = name.partition(":")
    if not _is_ours(module):
        raise ValueError(f"{name} is no class of ours")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    # What a module of ours has imported from elsewhere is not ours.
    if not isinstance(found, type) or found.__module__ != module or not fits(found):
        raise ValueError(f"{name} is nothing that a message may hold")
    return found
