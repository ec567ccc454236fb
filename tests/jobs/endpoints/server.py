"""A chat completions server on loopback with the tiny model behind it, and faults on request."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import torch
from aiohttp import web
from PIL import Image

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.loading import load_model

__all__ = ["Fault", "ModelServer"]

Fault: TypeAlias = Literal[
    "timeout",
    "limit",
    "error",
    "html",
    "empty list",
    "cut",
    "foreign",
    "drop",
    "bad request",
    "slow",
]
FaultPlan: TypeAlias = Callable[[str, int], Fault | None]
"""Fault of a request, by its text and how often that text was sent before."""


class ModelServer:
    """Speaks ``/v1/chat/completions`` in a thread of its own.

    Args:
        folder: Model to answer with.
        faults: What goes wrong when.
        echo: Whether completions carry the id of their request, as vLLM's do.
        key: Key that requests must show.
        blind: Whether it drops images.
        mute: Whether all answers are empty.
    """

    def __init__(
        self,
        folder: Path,
        *,
        faults: FaultPlan = lambda _text, _times: None,
        echo: bool = True,
        key: str | None = None,
        blind: bool = False,
        mute: bool = False,
        ends: bool = False,
    ) -> None:
        self.faults = faults
        self.echo = echo
        self.hold_after: int | None = None
        """All requests but the first so many get no answer."""
        self.held = 0
        self.sent: Counter[str] = Counter()
        """Answers that left, by the text that was asked."""
        self.asked: Counter[str] = Counter()
        """Requests that arrived, by their text."""
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once: Counter[str] = Counter()
        """Most requests that it had at a time, by the model that was asked."""
        self._at_once: Counter[str] = Counter()
        self._key = key
        self._blind = blind
        self._ends = ends
        """Whether every answer is told to be finished, wherever it was cut off."""
        self._mute = mute
        self._last: tuple[str, str] | None = None
        self._said: dict[str, tuple[str, dict[str, int], str]] = {}
        """What it answers is drawn by the seed of the request: the same again is the same."""
        self._loaded = load_model(folder, dtype="float32", attention="sdpa")
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(300)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(300)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._key and request.headers.get("Authorization") != f"Bearer {self._key}":
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        body = await request.json()
        model = body["model"]
        self._at_once[model] += 1
        self.most_at_once[model] = max(self.most_at_once[model], self._at_once[model])
        try:
            return await self._respond(request, body)
        finally:
            self._at_once[model] -= 1

    async def _respond(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text, media = _read(body)
        times = self.asked[text]
        self.asked[text] += 1
        self.bodies.append(body)
        if self.hold_after is not None and len(self.bodies) > self.hold_after:
            self.held += 1
            await asyncio.sleep(3600)
        fault = self.faults(text, times)
        match fault:
            case "timeout":
                await asyncio.sleep(3600)
            case "slow":
                await asyncio.sleep(0.05)
            case "limit":
                return web.Response(status=429, headers={"Retry-After": "1"}, text="slow down")
            case "error":
                return web.Response(status=500, text="out of memory")
            case "bad request":
                return web.json_response({"error": {"message": "too long"}}, status=400)
            case "html":
                return web.Response(text="<html>gateway</html>", content_type="text/html")
            case "empty list":
                return web.json_response({"choices": []})
        asked = json.dumps(body, sort_keys=True)
        if asked not in self._said:
            self._said[asked] = self._generate(body, [] if self._blind else media)
        told, usage, finish = self._said[asked]
        told = "" if self._mute else told
        name = request.headers["X-Request-Id"]
        if fault == "foreign":
            assert self._last is not None, "nothing else was asked yet"
            name, told = self._last
        else:
            self._last = name, told
        whole = json.dumps(
            {
                "id": f"chatcmpl-{name if self.echo else 'x'}",
                "model": body["model"],
                "choices": [
                    {"message": {"role": "assistant", "content": told}, "finish_reason": finish}
                ],
                "usage": usage,
            }
        ).encode()
        if fault == "cut":
            return web.Response(body=whole[: len(whole) // 2], content_type="application/json")
        response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
        await response.prepare(request)
        if fault == "drop":
            await response.write(whole[:10])
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(whole)
        self.sent[text] += 1
        return response

    @torch.no_grad()
    def _generate(
        self, body: dict[str, Any], media: list[LoadedMedia]
    ) -> tuple[str, dict[str, int], str]:
        loaded: LoadedModel = self._loaded
        group = loaded.adapter.encode(_question(body), media, [])
        ids = group.prompt_ids[None]
        places = loaded.adapter.prompt_positions(group)[:, None]
        embedded = loaded.adapter.embed(loaded.model, ids, places, [group], [1])
        torch.manual_seed(body.get("seed", 0))
        temperature = body.get("temperature", 1.0)
        generated = loaded.model.generate(
            inputs_embeds=embedded.inputs_embeds,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=body["max_tokens"],
            do_sample=temperature > 0,
            eos_token_id=loaded.adapter.chat.terminal_id,
            **({"temperature": temperature} if temperature > 0 else {}),
        )[0]
        tokenizer = loaded.processor.tokenizer
        ended = int(generated[-1]) == tokenizer.eos_token_id
        usage = {"prompt_tokens": len(group.prompt_ids), "completion_tokens": len(generated)}
        told = tokenizer.decode(generated, skip_special_tokens=True)
        return told, usage, "stop" if ended or self._ends else "length"


def _question(body: dict[str, Any]) -> str:
    content = body["messages"][0]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _read(body: dict[str, Any]) -> tuple[str, list[LoadedMedia]]:
    """Text of the request, with a digest of each image, and the images."""
    (message,) = body["messages"]
    content = message["content"]
    if isinstance(content, str):
        return content, []
    text, media = "", []
    for part in content:
        if part["type"] == "text":
            text += part["text"]
        else:
            raw = base64.b64decode(part["image_url"]["url"].partition("base64,")[2])
            media.append(LoadedMedia("image", (Image.open(io.BytesIO(raw)).convert("RGB"),)))
            text = f"({hashlib.sha256(raw).hexdigest()[:6]}) {text}"
    return text, media
