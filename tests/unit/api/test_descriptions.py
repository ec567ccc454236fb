"""Descriptions of fields are the strings under them, read when somebody asks."""

from __future__ import annotations

import subprocess
import sys

from pydantic import Field, create_model

from mmrlhf_api.base import ApiModel
from mmrlhf_api.descriptions import field_descriptions


class Base(ApiModel):
    """Of two fields."""

    kept: int = 1
    """Said by the base,
    in two lines."""
    said_anew: int = 2
    """Said by the base."""
    silent: int = 3


class Derived(Base):
    """Of four."""

    said_anew: int = 4
    """Said by the class."""
    own: int = Field(5, description="Said by its Field.")
    """Not this."""

    def method(self) -> int:
        hidden: int = 6
        """A string in a function is no field's."""
        return hidden


MADE = create_model("MADE", __base__=Derived, more=(int, Field(7, description="Made.")))


def test_a_field_has_the_string_under_it() -> None:
    assert field_descriptions(Derived) == {
        "said_anew": "Said by the class.",
        "own": "Not this.",
    }
    assert field_descriptions(MADE) == {}
    assert [Derived.description(name) for name in ("kept", "own", "silent")] == [
        "Said by the base,\nin two lines.",
        "Said by its Field.",
        None,
    ]
    assert [MADE.description(name) for name in ("more", "said_anew")] == [
        "Made.",
        "Said by the class.",
    ]


def test_schemas_tell_them() -> None:
    properties = MADE.model_json_schema()["properties"]
    assert {name: entry.get("description") for name, entry in properties.items()} == {
        "kept": "Said by the base,\nin two lines.",
        "saidAnew": "Said by the class.",
        "silent": None,
        "own": "Said by its Field.",
        "more": "Made.",
    }


def test_importing_reads_no_source() -> None:
    code = (
        "import mmrlhf_api.descriptions as read, mmrlhf_api, inspect\n"
        "assert read.field_descriptions.cache_info().misses == 0\n"
        "assert not any('use_attribute_docstrings' in kind.model.model_config\n"
        "               for kind in mmrlhf_api.KINDS.values())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.PIPE)
    assert ended.returncode == 0, ended.stderr
