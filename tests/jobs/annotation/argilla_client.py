"""What Argilla's client makes of a data set and of answers; run with the client's own Python.

Usage: argilla_client.py DATASET ANSWERS OUT. The answers are what its server would send: a list of
``{"task_id", "user_id", "status", "values"}``. Written are the records as `record.serialize()` has
them, after they went through the client's models.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock
from uuid import uuid4

from argilla._models import (  # type: ignore[import-not-found]
    DatasetModel,
    RecordModel,
    UserResponseModel,
)
from argilla.client import Argilla  # type: ignore[import-not-found]
from argilla.records import Record  # type: ignore[import-not-found]
from argilla.records._io import JsonIO  # type: ignore[import-not-found]
from argilla.settings import Settings  # type: ignore[import-not-found]


def main(folder: Path, answers: Path, out: Path) -> None:
    Argilla._default_client = MagicMock()  # settings ask for a connection, and do not use it
    DatasetModel(**json.loads((folder / ".argilla" / "dataset.json").read_text()))
    settings = Settings.from_json(folder / ".argilla" / "settings.json")
    settings.validate()
    written = json.loads((folder / ".argilla" / "settings.json").read_text())
    for kind in ("fields", "questions"):
        for mine, theirs in zip(written[kind], settings.serialize()[kind], strict=True):
            kept = {name: theirs[name] for name in mine}
            assert mine == kept, (mine, kept)
    dataset = SimpleNamespace(settings=settings, _client=None)
    given = json.loads(answers.read_text())
    records = []
    for record in JsonIO._records_from_json(folder / "records.json"):
        assert set(record.fields) == {field.name for field in settings.fields}
        responses = [
            UserResponseModel(
                values={
                    name: {"value": value}
                    for name, value in one["values"].items()
                    if settings.questions[name] is not None
                },
                status=one["status"],
                user_id=one["user_id"],
            )
            for one in given
            if one["task_id"] == record.id
        ]
        model = RecordModel(
            id=uuid4(), external_id=record.id, fields=record.fields.to_dict(), responses=responses
        )
        records.append(Record.from_model(model, dataset=dataset).serialize())
    out.write_text(json.dumps(records, default=str))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
