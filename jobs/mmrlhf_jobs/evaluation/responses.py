"""Responses to judge: one of a model to each query, by the query's id, of a file of queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmrlhf_jobs.data.conversation import as_json
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.parts import ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.responses import Response
from mmrlhf_jobs.data.row_faults import repeated_id
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["GivenResponses", "question_key", "read_responses"]


def question_key(query: QueryRecord) -> str:
    """Digest of what is asked: texts, and media by their content."""
    return digest_of("asked", as_json(query.asked), list(query.media_sha256s)).hex()


@dataclass(frozen=True)
class GivenResponses:
    """Responses of one model.

    Attributes:
        uri: Where they were read from.
        texts: Response by the id of its query; None where the model gave none that can be used.
        keys: What each query asked, as `question_key` has it.
        policy: Where the artifact of the model was that gave them, if they name it.
        artifact: Its digest.
    """

    uri: str
    texts: Mapping[str, str | None]
    keys: Mapping[str, str]
    policy: str | None = None
    artifact: str | None = None

    def made_by(self) -> dict[str, str | None]:
        """The model that gave them, as figures have it."""
        return {"policy": self.policy, "artifact": self.artifact}

    def find(self, query: QueryRecord) -> str | None:
        """The response to a query, or None.

        Raises:
            DataError: Another question has its id.
        """
        key = self.keys.get(query.record_id)
        if key is not None and key != question_key(query):
            raise DataError(
                f"record {query.record_id!r} asks something else, or shows other media, in"
                f" {self.uri}; judge responses to these very queries",
                file=query.location.file,
                row=query.location.row,
                field="query",
                fault="other-question",
            )
        return self.texts.get(query.record_id)


def read_responses(
    uri: str, *, model: str | None = None, storage: StorageOptions | None = None
) -> GivenResponses:
    """Read the responses of a model.

    Args:
        uri: Query/v1 with responses: a file, a folder or a pattern.
        model: Name of the model; None where each query has responses of one alone.
        storage: Where the object store is.

    Raises:
        DataError: A row is no query, has an id that came before, or more than one response that it
            could be; or the responses are not of one artifact.
    """
    origins: dict[str | None, tuple[QueryRecord, str | None]] = {}
    texts: dict[str, str | None] = {}
    keys: dict[str, str] = {}
    first: dict[str, QueryRecord] = {}
    for query in stream_queries(Source(uri, storage=storage)):
        place = query.location
        before = first.setdefault(query.record_id, query).location
        if before is not place:
            raise DataError(
                repeated_id(before.file, before.row),
                file=place.file,
                row=place.row,
                field="record_id",
            )
        found = _only(query, model)
        texts[query.record_id] = None if found is None else found.text
        if found is not None:
            origin = _origin(found, model)
            named = (None, None) if origin is None else (origin.artifact, origin.uri)
            origins.setdefault(named[0], (query, named[1]))
        keys[query.record_id] = question_key(query)
    if not any(text is not None for text in texts.values()):
        of = "" if model is None else f" of model {model!r}"
        raise DataError(
            f"there are no responses{of}; name a file of step answers or responses", file=uri
        )
    _check_one(origins)
    ((artifact, (_, policy)),) = origins.items()
    return GivenResponses(uri, texts, keys, policy, artifact)


def _check_one(origins: Mapping[str | None, tuple[QueryRecord, str | None]]) -> None:
    """Hold that all responses are of one artifact, or all of none that is known.

    Raises:
        DataError: They are not: what is said of them is said of no one model.
    """
    if len(origins) == 1:
        return
    (first, (before, _)), (other, (query, _)) = list(origins.items())[:2]
    raise DataError(
        f"the response to {query.record_id!r} is of {_called(other)}, that to"
        f" {before.record_id!r} of {_called(first)}; judge the responses of one model at a time",
        file=query.location.file,
        row=query.location.row,
        field="responses",
    )


def _called(artifact: str | None) -> str:
    return "a model that names no artifact" if artifact is None else f"artifact {artifact[:12]}"


def _origin(response: Response, model: str | None) -> ModelOrigin | None:
    """The model that a response counts for."""
    if model is None:
        return response.model
    origins = [response.model, *(one.model for one in response.duplicates)]
    return next(one for one in origins if one is not None and one.name == model)


def _only(query: QueryRecord, model: str | None) -> Response | None:
    found = [one for one in query.responses if model is None or model in _names(one)]
    if len(found) > 1:
        said = "several responses" if model is None else f"several responses of {model!r}"
        raise DataError(
            f"record {query.record_id!r} has {said}, and one is judged; "
            + ("say whose by model" if model is None else "give it one sample of each model"),
            file=query.location.file,
            row=query.location.row,
            field="responses",
        )
    return found[0] if found else None


def _names(response: Response) -> list[str]:
    origins = [response.model, *(one.model for one in response.duplicates)]
    return [origin.name for origin in origins if origin is not None]
