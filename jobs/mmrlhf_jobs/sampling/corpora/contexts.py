"""Questions that make no sense without the turns before them.

A conversation is cut into its questions, and each stands alone (paper 2.2). A later one may lean on
what was said before: "And what colour is it?". These speak for that:

===============  ===========================================================================
``points-back``  words for what was said: "you mentioned", "the above", "your answer"
``goes-on``      a beginning that carries on, or a whole question that does: "What about", "Why?"
``stands-in``    a pronoun before anything is named that it could stand for: "Where is it?"
===============  ===========================================================================
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["context_cue"]

_SAID: Final = r"(?:mentioned|said|described|listed|named|told|talked|stated|discussed)"
_POINTS_BACK: Final = re.compile(
    rf"""
      \b(?:you|we|i)\ (?:just\ |have\ |had\ )?{_SAID}\b | \bwhat\ d(?:o|id)\ you\ mean\b
    | \b(?:that|this)\ conclusion\b | \bmake\ (?:it|the\ caption)\ \w+er\b
    | \b{_SAID}\ (?:above|before|earlier|previously|just\ now)\b
    | \b(?:your|my|the)\ (?:previous|last|earlier|above)\ \w | \bthe\ above\b
    | \byour\ (?:answer|reply|response|description)\b | \bthe\ (?:former|latter)\b
    | \b(?:rewrite|rephrase|summari[sz]e|shorten|translate|repeat|explain)\ (?:it|that)\b
    | 你(?:刚才|刚刚|之前|上面|前面)?(?:提到|说过|说的|描述|列出)
    | 上一个(?:问题|回答) | 上述 | 刚才
    | \bta\ réponse\b | \bréponse\ précédente\b | \bci-dessus\b
    | \b(?:erwähnt|beschrieben)\ hast\b | \bdeine\ (?:antwort|beschreibung)\b
    | \b(?:mencionaste|dijiste)\b | \btu\ respuesta\b | \bvocê\ (?:mencionou|disse)\b
    | さっき | 先ほど | 前の(?:質問|回答|答え)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_GOES_ON: Final = re.compile(
    r"""^\W*(?:
      (?:and|but|so|then)\b,?\ (?:what|who|where|when|why|how|is|are|does|do|did|can|the|if)\b
    | and\ (?:in|on|at|behind|beside|next|under|above|inside|outside|between)\b
    | of\ (?:those|these)\b
    | what\ about\ (?!(?:this|the)\ (?:image|picture|photo|scene)) | how\ about\b
    | (?:what|who|where|anything|anyone|any\ others?)\ else\b
    | (?:why|how|where|when|who|how\ so|why\ not|which\ one|how\ many|how\ much)\W*$
    | how\ many\ of\ (?:them|those|these)\b | who\ (?:is|was|are)\ (?:he|she|they)\W*$
    | are\ you\ sure\b | tell\ me\ more\b | (?:go\ on|continue|elaborate)\W*$
    | (?:can|could)\ you\ (?:elaborate|be\ more\ specific)\b | how\ do\ you\ know\b
    | give\ me\ (?:another|more)\b
    | 那(?:么|他|她|它|你|这|为) | .{1,8}呢\W*$ | 还有(?:什么|谁|哪|吗|别的) | 为什么\W*$ | 你确定
    | et\ (?:le|la|les|de|à|où|que|combien|comment|pourquoi)\b | pourquoi\W*$ | es-tu\ sûr
    | und\ (?:was|wie|wo|wer|die|der|das|warum)\b | warum\W*$ | bist\ du\ sicher
    | y\ (?:qué|cómo|dónde|quién|cuál|el|la|los|las|de)\b | por\ qué\W*$ | algo\ más
    | e\ (?:o|a|os|as|qual|quem|onde|como|quantos)\b | por\ quê\W*$
    | では | じゃあ | それ[はがを] | なぜ(?:ですか)?\W*$ | 他に
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_PRONOUN: Final = re.compile(
    r"""
      \b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers)\b
    | \b(?:that|those|these)(?=\ (?:is|are|was|were|mean|her|his|their|one|ones)\b|\W*$|,)
    | 它 | 他们 | 她们 | \w-(?:ils?|elles?|ce)\b | \b(?:er|sie|ihn|ihm|ihnen)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NAMED: Final = re.compile(
    r"""
      \b(?:the|an?|this|that|these|those|each|every|any|some|both|two|three|people|children)\ \w
    | \b(?:le|la|les|une?|des|du|der|die|das|dem|den|eine?[nmr]?)\ \w | \bl'
    | 那(?:个|只|些|位|辆) | 这(?:个|只|些|位|辆) | 图中 | 图片
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OF_NOTHING: Final = re.compile(
    r"""
      \bit\ (?:that\b|\w+ing\b|day|night|safe|likely|possible|sunny|dark|cold|hot|true)
    | \bit\ (?:looks?|seems?|appears?)\ (?:like|as|that)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""The "it" of weather and judgements, which stands for nothing."""


def context_cue(question: str, turn: int) -> str | None:
    """What says that a question needs the turns before it; None where nothing does.

    Args:
        question: Its text, without placeholders.
        turn: 0-based place in the conversation; the first question has nothing before it.
    """
    if turn == 0:
        return None
    text = unicodedata.normalize("NFKC", question).strip()
    if _POINTS_BACK.search(text):
        return "points-back"
    if _GOES_ON.search(text):
        return "goes-on"
    pronoun = _PRONOUN.search(_OF_NOTHING.sub("", text))
    if pronoun is None or _NAMED.search(pronoun.string[: pronoun.start()]):
        return None
    return "stands-in"
