"""Embedding, shuffling and clustering of a folder of media, as one process.

Usage: ``vector_stages.py FOLDER BATCH_SIZE ORDER``: media lie in ``FOLDER/media``, the
model in ``FOLDER/clip``, artifacts go to ``FOLDER/artifacts``. ``ORDER`` seeds the
order of the media.
Every attempt is killed while it makes its second part, until one needs no more
than that; the number of attempts is written to ``FOLDER/attempts``.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.sampling.clustering.centres import Centres
from mmrlhf_jobs.sampling.clustering.clusters import CENTRES_FILE, assign_bucket, find_centres
from mmrlhf_jobs.sampling.clustering.kmeans import KMeans
from mmrlhf_jobs.sampling.clustering.points import Points, open_bucket
from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.embeddings.embedding import Embedder, media_key
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from mmrlhf_jobs.sampling.embeddings.shuffling import (
    KEYS_FILE,
    VECTORS_FILE,
    WantedMedia,
    shuffle,
)
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.jobs.sampling.here import DecodersHere
from tests.jobs.sampling.processes import kill_at_part

BLOCK = 8
CENTRES = 5
KEYS = [digest_of("rows").hex()]


def run(folder: Path, *, batch_size: int, order: int) -> None:
    """All stages."""
    import numpy as np

    runtime = Runtime.from_environment()
    store = ArtifactStore(str(folder / "artifacts"))
    scratch = folder / f"scratch-{runtime.rank}"
    stages = {
        name: Parts(store, f"run/work/{name}", scratch=scratch)
        for name in ("media", "buckets", "centres", "clusters")
    }
    encoder = Encoder(folder / "clip", threads=2)
    vectors = VectorStore(store, encoder.key, scratch=scratch)
    vectors.refresh()
    refs = [
        MediaRef(str(path), kind="video" if path.suffix == ".mp4" else "image")
        for path in sorted((folder / "media").iterdir())
    ]
    refs += [MediaRef(str(folder / "media/nowhere.png")), refs[0]]
    random.Random(order).shuffle(refs)
    blocks = [refs[start : start + BLOCK] for start in range(0, len(refs), BLOCK)]
    with DecodersHere(encoder.preparation, processes=2) as decoders:
        embedder = Embedder(encoder, MediaReader(), decoders, vectors, batch_size)
        for number in range(runtime.rank, len(blocks), runtime.world_size):
            key = media_key(f"rows-{order}", number, encoder.key)
            embedder.embed(f"{number}", key, blocks[number], stages["media"])
    runtime.wait()
    media = [
        stages["media"].get(f"{number}", media_key(f"rows-{order}", number, encoder.key))
        for number in range(len(blocks))
    ]
    wanted = WantedMedia(media, scratch / "wanted")
    places = slice(runtime.rank, None, runtime.world_size)
    made = shuffle(wanted, vectors, stages["buckets"], scratch=scratch / "rows", mine=places)
    buckets = sorted(
        (part for some in runtime.gather(made) for part in some), key=lambda part: part.name
    )
    opened = [
        open_bucket(Path(part.uri) / VECTORS_FILE, Path(part.uri) / KEYS_FILE) for part in buckets
    ]
    centres = find_centres(
        Points(opened),
        CENTRES,
        KMeans(iterations=6, tolerance=0),
        stages["centres"],
        seed=3,
        data=digest_of(*(part.key for part in buckets)).hex(),
        ranks=runtime,
        threads=2,
        save_seconds=0,
    )
    with centres.open(CENTRES_FILE) as file:
        found = Centres(np.load(file), "cosine")
    for part, bucket in list(zip(buckets, opened, strict=True))[places]:
        assign_bucket(part.name, bucket, part.key, found, stages["clusters"])
    runtime.wait()
    runtime.leave()


def run_with_kills(folder: Path, *, batch_size: int, order: int) -> None:
    """Run again and again, each time to the second part, which is lost."""
    attempts = 0
    while True:
        attempts += 1
        if attempts > 40:
            sys.exit("the attempts get nowhere")
        (folder / "attempts").write_text(str(attempts))
        child = os.fork()
        if child == 0:
            kill_at_part(2)
            run(folder, batch_size=batch_size, order=order)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return
        if status != -signal.SIGKILL:
            sys.exit(f"attempt {attempts} ended with {status}")


if __name__ == "__main__":
    run_with_kills(Path(sys.argv[1]), batch_size=int(sys.argv[2]), order=int(sys.argv[3]))
