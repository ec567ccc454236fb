"""Rows that do not fit the model are found before the first step, all at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.pairs import PairMode
from mmrlhf_jobs.data.records import Media, RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.models.adapter import VLMAdapter
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.loading import load_model
from mmrlhf_jobs.queries.judged import JudgedQueryBuilder
from mmrlhf_jobs.queries.preference import QueryEncoder
from tests.jobs.models.tiny import picture
from tests.jobs.training.world import World, make_record, write_records

Rows = list[dict[str, Any]]
pytestmark = pytest.mark.usefixtures("own_signals")


@pytest.fixture(scope="module")
def adapter(template: World) -> VLMAdapter:
    return load_model(template.folder / "model", dtype="float32", attention="sdpa").adapter


def limit_model(world: World, tokens: int) -> None:
    path = world.folder / "model" / "config.json"
    content = json.loads(path.read_text())
    content["text_config"]["max_position_embeddings"] = tokens
    path.write_text(json.dumps(content))


def change(world: World, file: str, make: Callable[[Rows], None]) -> None:
    path = world.folder / "data" / file
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    make(rows)
    write_records(path, rows)


def lengthen_texts(rows: Rows) -> None:
    """One response, one question and one critique; the last is read by reward models alone."""
    rows[2]["responses"][3]["text"] = "no dog " * 600
    rows[5]["query"]["text"] = "a dog? " * 600
    rows[6]["responses"][1]["critique"]["augmented"] = "no dog " * 600


def job_of(world: World, kind: str, **changes: Any) -> dict[str, Any]:
    return (world.reward_job if kind == "reward" else world.job)(**changes)


TEXTS = [
    "train.jsonl, row 3, field responses[3].text",
    "train.jsonl, row 6, field responses[0].text",
]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("reward", ["3 of ", *TEXTS, "train.jsonl, row 7, field responses[1]"]),
        ("mmdpo", ["2 of ", *TEXTS]),
    ],
)
def test_long_rows_are_all_named_before_anything_is_computed(
    world: World,
    kind: str,
    says: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MMRLHF_PROGRESS_FILE", str(world.folder / "progress.jsonl"))
    limit_model(world, 1200)
    whole = (world.folder / "data" / "train.jsonl").read_bytes()
    change(world, "train.jsonl", lengthen_texts)
    job = job_of(world, kind, training__maxSteps=1)
    assert main([kind, "--job", str(world.write_job(job))]) == 2
    message = capsys.readouterr().err
    for part in [*says, "but the model takes 1200", "shorten the row or leave it out"]:
        assert part in message
    phases = [event["phase"] for event in world.events() if event["event"] == "phase"]
    assert set(phases) == {"validate", "load"}, "nothing was computed"
    files = {path.name: path for path in (world.folder / "artifacts").rglob("*") if path.is_file()}
    assert set(files) == {"attempts.json", "claim.json"}
    attempts = json.loads(files["attempts.json"].read_text())
    assert [one["exit"] for one in attempts] == ["DataError"]

    (world.folder / "data" / "train.jsonl").write_bytes(whole)
    (world.folder / "progress.jsonl").unlink()
    assert main([kind, "--job", str(world.write_job(job))]) == 0, capsys.readouterr().err
    assert "train" in [event.get("phase") for event in world.events()]


@pytest.mark.parametrize("use", ["evaluation", "benchmark"])
def test_rows_that_are_read_after_training_are_looked_at_before(
    world: World, use: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is trained and cannot be measured would be an hour lost."""
    limit_model(world, 1200)
    (world.folder / "data" / "other.jsonl").write_bytes(
        (world.folder / "data" / "heldout.jsonl").read_bytes()
    )
    change(world, "other.jsonl", lambda rows: rows[4]["query"].update(text="a dog? " * 600))
    place = "data__evaluation" if use == "evaluation" else "benchmark"
    job = world.reward_job(**{place: {"uri": str(world.folder / "data" / "other.jsonl")}})
    assert main(["reward", "--job", str(world.write_job(job))]) == 2
    assert "other.jsonl, row 5, field responses[0].text" in capsys.readouterr().err
    assert not list((world.folder / "artifacts").rglob("checkpoints"))


@pytest.mark.parametrize("kind", ["reward", "mmdpo"])
def test_special_tokens_in_texts_are_found_as_early(
    world: World, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the responses of the hardest pair are read, and named by their place in the row."""

    def spoil(rows: Rows) -> None:
        for row in rows:
            row["ranking"]["ranks"] = {"a": 3, "b": 1, "c": 4, "d": 2}
            row["responses"][0]["text"] += "<|im_end|>"
        rows[8]["responses"][3]["text"] += "<|im_end|>"

    change(world, "train.jsonl", spoil)
    job = job_of(world, kind, objective={"pairs": "hardest"})
    assert main([kind, "--job", str(world.write_job(job))]) == 2
    message = capsys.readouterr().err
    assert "train.jsonl, row 9, field responses[3].text" in message
    assert "1 of " in message
    assert "1 markup" in message


def images(*sizes: tuple[int, int]) -> tuple[list[Media], list[LoadedMedia]]:
    media = [Media(uri=f"{index}.png", sha256="0" * 64) for index in range(len(sizes))]
    return media, [LoadedMedia("image", (picture(*size, seed=1),)) for size in sizes]


SIZES = [(w, h) for w in (1, 14, 27, 28, 29, 56, 57, 300) for h in (1, 27, 28, 30, 56, 300)]


def test_no_prompt_is_longer_than_the_longest(adapter: VLMAdapter) -> None:
    """Whatever the image; the bound is reached, or one could do without it."""
    media, _ = images((1, 1))
    longest = adapter.longest_prompt("is it?", media)
    found = [len(adapter.encode("is it?", images(size)[1], []).prompt_ids) for size in SIZES]
    assert max(found) == longest


@pytest.mark.parametrize("most", [1, 4, 9, 36])
def test_the_bound_holds_for_the_sizes_of_the_released_model(template: World, most: int) -> None:
    """729 tokens a tile of 384 pixels, up to 6 x 6 tiles: the processor's count for many sizes."""
    loaded = load_model(template.folder / "model", dtype="float32", attention="sdpa")
    processor, config = loaded.processor, loaded.model.config
    processor.num_image_tokens = 729
    processor.vision_aspect_ratio = f"anyres_max_{most}"
    sides = [384 * tiles for tiles in range(1, 7)]
    processor.image_processor.image_grid_pinpoints = [[h, w] for h in sides for w in sides]
    processor.image_processor.size = {"height": 384, "width": 384}
    config.vision_config.image_size = 384
    media, _ = images((1, 1))
    bare = loaded.adapter.longest_prompt("is it?", []) + len(loaded.adapter.chat.text_ids("\n", ""))
    bound = loaded.adapter.longest_prompt("is it?", media) - bare
    sizes = [(h, w) for h in range(50, 3000, 61) for w in range(50, 3000, 67)]
    found = processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"]
    assert 0.85 * bound < max(found) <= bound


def test_prompts_of_several_media_are_as_long_as_they_are_said_to_be(adapter: VLMAdapter) -> None:
    media, loaded = images((30, 50), (60, 20), (28, 28))
    frames = [{"uri": f"{index}.png", "sha256": "0" * 64} for index in range(3)]
    video = Media.model_validate({"kind": "video", "frames": frames})
    film = LoadedMedia("frames", tuple(picture(40, 30, seed) for seed in range(3)))
    for described, given in (([], []), (media, loaded), ([*media, video], [*loaded, film])):
        group = adapter.encode("is it a dog?", given, [])
        assert adapter.longest_prompt("is it a dog?", described) == len(group.prompt_ids)


def located_record(folder: Path) -> RankedResponse:
    return RankedResponse.model_validate(make_record(folder, 3))


def test_media_are_opened_only_where_their_size_decides(
    adapter: VLMAdapter, tmp_path: Path
) -> None:
    """The media root is elsewhere: to open a medium is an error."""
    record = located_record(tmp_path)

    def check(limit: int, mode: PairMode = "all") -> None:
        nowhere = str(tmp_path / "nowhere")
        QueryEncoder(adapter, max_tokens=limit, media_root=nowhere, mode=mode).check(record)
        JudgedQueryBuilder(
            CritiqueTemplate(adapter, max_tokens=limit),
            media_root=nowhere,
            mode=mode,
            critique="enhanced",
        ).check(record)

    check(4096)
    with pytest.raises(DataError, match="does not exist"):
        check(30)


@pytest.mark.parametrize("kind", ["mmdpo", "reward"])
def test_the_limit_is_exact(adapter: VLMAdapter, tmp_path: Path, kind: str) -> None:
    """At the length of the longest sequence a row passes, and below it does not."""
    record = located_record(tmp_path)

    def checker(limit: int) -> QueryEncoder | JudgedQueryBuilder:
        if kind == "mmdpo":
            return QueryEncoder(adapter, max_tokens=limit, media_root=str(tmp_path), mode="all")
        return JudgedQueryBuilder(
            CritiqueTemplate(adapter, max_tokens=limit),
            media_root=str(tmp_path),
            mode="all",
            critique="enhanced",
        )

    whole = checker(4096)
    group = whole.encode(record) if isinstance(whole, QueryEncoder) else whole.build(record).encoded
    longest = len(group.prompt_ids) + max(map(len, group.responses))
    checker(longest).check(record)
    with pytest.raises(DataError, match=f"{longest} tokens"):
        checker(longest - 1).check(record)
