"""An image encoder of the CLIP kind, whose vectors depend on their pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import PIL
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel

from mmrlhf_api.models import DType
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.contents import refuse_pickles
from mmrlhf_jobs.models.folders import digest_folder
from mmrlhf_jobs.models.own_code import loading_error
from mmrlhf_jobs.models.sizes import refuse_larger
from mmrlhf_jobs.sampling.clustering.grid import Vectors, to_grid, tree_sum
from mmrlhf_jobs.sampling.clustering.kmeans import thread_count
from mmrlhf_jobs.sampling.embeddings.preparation import load_preparation

__all__ = ["Encoder"]

_BLOCK_ROWS: Final = {"cpu": 8, "cuda": 64}
"""Pictures of one forward pass, by kind of device: always as many, so that every pass takes the
same kernels."""

_UNLOADABLE: Final = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError),
    *(RuntimeError, ImportError, SafetensorError),
)
"""What transformers raises over a folder that holds no whole model."""

_OF_TEXT: Final = ("text_model.", "text_projection.", "logit_")
"""Weights that no vector of a picture depends on; a folder may lack them."""

_VERSION: Final = 2
"""Of what this code makes of a picture: vectors of another one are not used."""


class Encoder:
    """Encodes pictures in blocks of a fixed shape.

    On CPUs each pass runs on one thread, as matrix products divided among threads differ in their
    last bits by the number of threads, and several passes run at once. When it is made, it encodes
    noise at different places of a block; if the place makes a difference, which the libraries of
    matrix products decide, each picture gets a pass of its own.

    Args:
        folder: Model folder in Hugging Face format, with an image processor: CLIP, SigLIP and
            whatever else has ``get_image_features``.
        dtype: Number format of weights and activations; vectors come out in float32.
        device: Where to compute.
        threads: Passes at once on a CPU; no vector depends on it. None takes what the process may.

    Attributes:
        key: What its vectors depend on, as a digest: the model's files, dtype, kind of device,
            shape of a block, and the versions of the libraries.
        preparation: What is done to pictures before they come here.
        width: Numbers of a vector.

    Raises:
        ModelError: The folder holds no such model, or not all of it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dtype: DType = "float32",
        device: torch.device | None = None,
        threads: int | None = None,
    ) -> None:
        self._device = device or torch.device("cpu")
        on_cpu = self._device.type == "cpu"
        self._pool = ThreadPoolExecutor(
            (threads or thread_count()) if on_cpu else 1,
            "encoder",
            lambda: torch.set_num_threads(1),
        )
        self._dtype = getattr(torch, dtype)
        self.preparation, self._scaling, self._shape = load_preparation(folder)
        refuse_pickles(folder)
        try:
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            refuse_larger(AutoModel, config, folder)
            model, info = AutoModel.from_pretrained(
                folder,
                dtype=self._dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, with their names
            )
        except _UNLOADABLE as error:
            raise loading_error(
                folder, error, f"{folder}: no model that can be loaded: {error}"
            ) from error
        if not hasattr(model, "get_image_features"):
            raise ModelError(
                f"{folder}: {type(model).__name__} does not encode images; use a model such as"
                " CLIP or SigLIP"
            )
        # transformers initialises absent weights at random and only warns.
        absent = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
        if absent := sorted(name for name in absent if not name.startswith(_OF_TEXT)):
            raise ModelError(
                f"{folder}: {len(absent)} weights of {type(model).__name__} are missing or have "
                f"another shape, first {absent[:3]}; pictures would get vectors at random: copy or "
                "download the whole model"
            )
        self._model: Any = model.eval().requires_grad_(False).to(self._device)
        self._block = _BLOCK_ROWS.get(self._device.type, 1)
        empty = np.zeros((self._block, *self._shape), np.uint8)
        self.width = int(self._pool.submit(self._forward, empty).result().shape[1])
        if self._pool.submit(self._places_matter).result():
            self._block = 1
        self.key = digest_of(
            "encoder",
            _VERSION,
            digest_folder(folder),
            dtype,
            self._device.type,
            self._block,
            [torch.__version__, transformers.__version__, PIL.__version__, np.__version__],
        ).hex()

    def encode(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> tuple[Vectors, list[bool]]:
        """Encode pictures of any number.

        Args:
            pictures: uint8[3, H, W] each, as the preparation gives them.

        Returns:
            Vectors of length 1 on the grid of :mod:`mmrlhf_jobs.sampling.clustering.grid`,
            float32[N, D], and whether each is one: what the model gives may be zero or not finite.
        """
        vectors = np.zeros((len(pictures), self.width), np.float32)

        def fill(start: int) -> None:
            some = pictures[start : start + self._block]
            block = np.zeros((self._block, *self._shape), np.uint8)
            block[: len(some)] = np.stack(some)
            vectors[start : start + len(some)] = self._forward(block)[: len(some)]

        list(self._pool.map(fill, range(0, len(pictures), self._block)))
        exact = vectors.astype(np.float64)
        lengths = np.sqrt(tree_sum(exact**2))
        good = np.isfinite(lengths) & (lengths > 0)
        exact[~good] = 0
        exact[good] /= lengths[good, None]
        return to_grid(exact), good.tolist()

    def _forward(self, block: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            pixels = torch.from_numpy(block).to(self._device).float() * self._scaling.factor
            mean, std = (
                torch.tensor(values, device=self._device)[:, None, None]
                for values in (self._scaling.mean, self._scaling.std)
            )
            found = self._model.get_image_features(
                pixel_values=((pixels - mean) / std).to(self._dtype)
            )
            features = found if isinstance(found, torch.Tensor) else found.pooler_output
            vectors: npt.NDArray[np.float32] = features.float().cpu().numpy()
        return vectors

    def _places_matter(self) -> bool:
        noise = np.random.default_rng(0).integers(0, 256, (self._block, *self._shape), np.uint8)
        first = self._forward(noise)
        rolled = self._forward(np.roll(noise, 1, axis=0))
        alone = self._forward(np.concatenate([noise[:1], np.zeros_like(noise[1:])]))
        return not (
            np.array_equal(np.roll(first, 1, axis=0), rolled) and np.array_equal(first[0], alone[0])
        )
