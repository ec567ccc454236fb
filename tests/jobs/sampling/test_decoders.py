"""Decoding in processes that may end, hang or answer wrongly."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaKind
from mmrlhf_jobs.sampling.images import decoders as module
from mmrlhf_jobs.sampling.images.decoders import Decoders, Preparation
from tests.jobs.sampling.codecs import fail, prepare
from tests.patience import PATIENCE
from tests.unit.sampling.pictures import encoded, noise, photographs, video


def test_what_ends_or_stops_a_decoder_costs_its_medium_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [encoded(noise(width, 9, seed)) for seed, width in enumerate([16, 13, 17, 14, 15, 18])]
    ask = module._Process.ask

    def ask_patiently(
        self: module._Process, question: tuple[bytes, MediaKind], patience: float
    ) -> object:
        # Only one is to take too long, however busy the machine is.
        return ask(self, question, patience if question[0] == files[4] else 60 * PATIENCE)

    monkeypatch.setattr(module._Process, "ask", ask_patiently)
    with (
        Decoders(Preparation(prepare), processes=2, patience=0.5) as decoders,
        ThreadPoolExecutor(4) as pool,
    ):

        def outcome(content: bytes) -> tuple[int, ...] | str:
            try:
                return decoders.decode(content, "image").pixels.shape
            except DroppedMedia as error:
                return f"{error.reason}: {error.message}"

        found = list(pool.map(outcome, files))
    good = (8, 8, 3)
    assert found == [
        good,
        "decoder-crashed: made its decoder end with signal SIGSEGV",
        good,
        "decoder-crashed: made its decoder end with exit code 3",
        "decoder-timeout: was not decoded within 0.5 s",
        good,
    ]
    assert not multiprocessing.active_children()


def test_pictures_and_reasons_come_back_whole() -> None:
    with Decoders(Preparation(prepare, edge=20), processes=1) as decoders:
        picture = decoders.decode(photographs()["china.jpg"], "image")
        assert (picture.width, picture.height, picture.pixels.shape) == (640, 427, (8, 8, 3))
        frame = decoders.decode(video([(0, 0, 0)] * 5 + [(0, 0, 200)]), "video")
        assert (frame.pts_ms, frame.black_start) == (0.0, True)
        with pytest.raises(DroppedMedia) as caught:
            decoders.decode(b"nothing", "image")
        assert caught.value.reason == "not-an-image"


def test_a_preparation_that_is_wrong_ends_the_job() -> None:
    with (
        Decoders(Preparation(fail), processes=1) as decoders,
        pytest.raises(ZeroDivisionError),
    ):
        decoders.decode(encoded(noise(9, 9)), "image")
