"""A tiny model that has learnt a few expansions by heart."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.endpoints.critiques import PROMPT, CritiqueInquiry
from mmrlhf_jobs.endpoints.requests import TextPart
from mmrlhf_jobs.models.loading import load_model
from tests.jobs.endpoints.items import EXPANSIONS, commented_records
from tests.jobs.models.tiny import make_processor, save_tiny

STEPS = 120
VOCABULARY = 800


@pytest.fixture(scope="session")
def expander(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that expands the comments of `commented_records` as `EXPANSIONS` says."""
    folder = save_tiny(
        tmp_path_factory.mktemp("expander") / "model", scale=1.0, vocab_size=VOCABULARY
    )
    processor = make_processor()
    # Words instead of bytes: the prompt is a quarter as long, and learnt as much faster.
    texts = [PROMPT, *chain.from_iterable(EXPANSIONS.values())]
    processor.tokenizer = processor.tokenizer.train_new_from_iterator(
        texts * 3, VOCABULARY, show_progress=False
    )
    processor.save_pretrained(folder)
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    step = CritiqueInquiry(EndpointSettings(name="m", base_url="http://x", model="m"))
    prompts, rows = [], []
    for record in commented_records():
        for question, expansion in zip(
            step.questions(record), EXPANSIONS[record.record_id], strict=True
        ):
            (part,) = question.request.parts
            assert isinstance(part, TextPart)
            group = loaded.adapter.encode(part.text, (), [expansion])
            prompts.append(len(group.prompt_ids))
            rows.append(torch.cat([group.prompt_ids, *group.responses]))
    ids = pad_sequence(
        rows, batch_first=True, padding_value=loaded.processor.tokenizer.pad_token_id
    )
    labels = pad_sequence(rows, batch_first=True, padding_value=-100)
    for row, prompt in enumerate(prompts):
        labels[row, :prompt] = -100
    # Right padding: causal attention needs no mask for it.
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(loaded.model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    loss = torch.tensor(1.0)
    for _ in range(STEPS):
        loss = loaded.model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05, "the model has not learnt its expansions"
    loaded.model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def seer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model whose answers differ from picture to picture."""
    return save_tiny(tmp_path_factory.mktemp("seer") / "model", scale=8.0)
