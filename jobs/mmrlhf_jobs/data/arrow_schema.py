"""The Arrow schema of records, derived from the models: the models are the one source of truth."""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from mmrlhf_jobs.data.parts import Since
from mmrlhf_jobs.data.records import RankedResponse

__all__ = ["record_schema"]

_LEAVES: dict[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
}


@cache
def record_schema(version: int = 1) -> pa.Schema:
    """Schema of the Parquet twin of ``RankedResponse`` of a version: structs, lists and maps."""
    return pa.schema(list(_struct(RankedResponse, version)))


def _struct(model: type[BaseModel], version: int) -> pa.DataType:
    return pa.struct(
        [
            pa.field(field.alias or name, _arrow_type(field.annotation, version))
            for name, field in model.model_fields.items()
            if not any(isinstance(one, Since) and one.version > version for one in field.metadata)
        ]
    )


def _arrow_type(annotation: Any, version: int) -> pa.DataType:  # noqa: ANN401 - annotations have no common type
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _struct(annotation, version)
    if origin is tuple:
        return pa.list_(_arrow_type(arguments[0], version))
    if origin is dict:
        return pa.map_(_arrow_type(arguments[0], version), _arrow_type(arguments[1], version))
    if origin in (Union, types.UnionType, Annotated):
        inner = [one for one in arguments if one is not types.NoneType]
        return _arrow_type(inner[0], version)
    leaf = str if origin is Literal else annotation
    if leaf not in _LEAVES:
        raise TypeError(f"{annotation!r} has no Parquet type; records must keep an exact twin")
    return _LEAVES[leaf]
