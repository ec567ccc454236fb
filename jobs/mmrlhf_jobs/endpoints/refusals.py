"""Refusals to answer, known by how a text opens.

A table of phrases in thirteen languages: those of the paper's data (English and Chinese) and of
many users. It judges the opening alone, after what courtesy puts before it ("Thank you for the
picture."), in three ways:

- an apology or "as an AI", and then that the model cannot: "I'm sorry, but I can't";
- that it cannot do what an answer is: "I cannot help", "no puedo responder";
- in English, an apology of the model for itself is enough.

What it sees is no refusal: "I cannot see a dog", "lo siento, estamos cerrados" of a sign, and "I
cannot give an exact number, but it is about twenty". A refusal in another language, or one that
begins with an answer, is not known.
"""

# ruff: noqa: RUF001 - letters of other scripts than Latin

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["LANGUAGES", "Language", "is_refusal"]

_OPENING: Final = 400
"""Characters that are looked at."""

_COURTESIES: Final = 2


_BUT: Final = r"(?:but|however|pero|mais|aber|mas|но|ma|maar|nhưng)\b"
_COURTESY: Final = re.compile(
    r"(?:(?:thank(?:s| you)|hello|hi|i (?:understand|appreciate|see that you)|gracias|merci|bonjour"
    r"|danke|ich verstehe|obrigad[oa]|спасибо|grazie|bedankt|cảm ơn)\b"
    r"|谢谢|感谢|謝謝|ありがとう|감사합니다|شكرا)"
    r"[^.!?。！？\n]{0,160}?"
    rf"(?:[.!?。！？\n]+|,(?= ?{_BUT})|，(?=但))\s*(?:{_BUT}|但是?)?[,，\s]*"
)


@dataclass(frozen=True)
class Language:
    """How refusals begin in a language, as regular expressions in small letters.

    Attributes:
        sorry: Apologies.
        alas: What may stand before "I cannot".
        as_ai: What a model says of itself before it refuses.
        unable: That it cannot, whatever.
        refuses: That it cannot do what an answer is.
        hedges: Words by which it says in the same sentence how sure or exact an answer is.
        ends: Characters that end a sentence.
        alone: Openings that are a refusal by themselves.
    """

    sorry: str
    alas: str
    as_ai: str
    unable: str
    refuses: str
    hedges: str
    ends: str = r".!?\n"
    alone: str = r"(?!)"

    def pattern(self) -> re.Pattern[str]:
        """One expression for all of it, to be matched at the start of a text."""
        same = rf"[^{self.ends}]"
        sentence = rf"{same}{{0,80}}?"
        # The apology may be a sentence of its own; "as an AI" and the rest are one.
        return re.compile(
            rf"(?:{self.alone})"
            rf"|(?:{self.sorry})(?:{same}{{0,40}}?[{self.ends}]\s*)?{sentence}(?:{self.unable})"
            rf"|(?:{self.as_ai}){sentence}(?:{self.unable})"
            rf"|(?!{same}{{0,100}}(?:{self.hedges}))(?:(?:{self.alas})[,\s]*)?(?:{self.refuses})"
        )


_CANNOT: Final = (
    r"\b(?:i|we) ?(?:(?:simply|really|also|do) )?"
    r"(?:can(?:not|'t| not)|(?:could|would|will) not|(?:could|would)n't|won't|must decline"
    r"|have to decline|(?:do not|don't) feel comfortable"
    r"|(?:am|'m|are|'re) (?:not (?:able|allowed|permitted|comfortable)|unable))\b"
)
_NO_PUEDO: Final = (
    r"\bno (?:me |te |le |les |lo |la )?(?:puedo|podr[eé]|podr[ií]a|es posible|estoy en condiciones"
    r"|estoy autorizad[oa])\b|\bsoy incapaz\b|\bdebo (?:negarme|rechazar)\b"
)
_JE_NE_PEUX: Final = (
    r"\bje ne (?:vous |te |le |la |les )?(?:peux|pourrai|puis|saurais)\b|\bje n'ai pas (?:le droit"
    r"|la possibilit\u00e9)\b|\bje ne suis pas (?:en mesure|capable|autoris\u00e9e?)\b"
    r"|\bil m'est impossible\b|\bje (?:refuse|dois (?:refuser|d\u00e9cliner))\b"
)
_NAO_POSSO: Final = (
    r"\bn\u00e3o (?:o |a |te |lhe |me )?(?:posso|consigo|poderei|poderia|\u00e9 poss\u00edvel"
    r"|sou capaz|estou autorizad[oa])\b|\bsou incapaz\b|\b(?:me recuso|recuso-me)\b"
)
_NE_MOGU: Final = (
    r"\bне (?:могу|смогу|можем|буду|в состоянии|имею (?:возможности|права)|вправе)\b"
    r"|\bвынужден[а]? отказать"
)
_NICHT: Final = (
    r"\bich (?:kann|darf|werde|m\u00f6chte)\b[^.!?\n]{0,60}?\bnicht\b"
    r"|\b(?:kann|darf|werde|m\u00f6chte) ich\b[^.!?\n]{0,60}?\bnicht\b"
    r"|\bich bin (?:leider )?nicht in der lage\b|\bes ist mir (?:leider )?nicht m\u00f6glich\b"
    r"|\bich muss (?:das |dies )?ablehnen\b"
)
_BUNENG: Final = (
    r"(?:无法|無法|不能|不可以|不便|没有?办法|沒有?辦法|不会(?=回答|提供)"
    r"|(?<=我)(?:必须|必須)?(?:拒绝|拒絕))"
)
_NON_POSSO: Final = (
    r"\bnon (?:ti |le |vi |lo |la )?(?:posso|potrei|riesco|sono in grado|mi \u00e8 possibile"
    r"|sono autorizzat[oa])\b|\bdevo (?:rifiutare|declinare)\b|\bmi rifiuto\b"
)
_NIET: Final = (
    r"\b(?:ik (?:kan|mag|zal|wil)|(?:kan|mag|zal|wil) ik)\b[^.!?\n]{0,60}?\bniet\b"
    r"|\bik ben niet in staat\b|\bik moet (?:dit )?weigeren\b"
)
_LA: Final = (
    r"(?:لا (?:أستطيع|استطيع|يمكنني|يمكننا|نستطيع)|ليس (?:بإمكاني|بوسعي)|لن (?:أستطيع|أتمكن)"
    r"|غير قادر|يتعذر علي)"
)
_KHONG: Final = r"\bkhông (?:thể|được phép|có khả năng)\b|\btừ chối\b"
_DEKINAI: Final = (
    r"(?:でき(?:ません|ない|かねます)|出来(?:ません|ない|かねます)|(?:いた|致)?しかねます)"
)
_EOPDA: Final = (
    r"(?:수(?:가|는)? ?없(?:습니다|어요|다|음)|불가(?:능)?합니다|못 ?(?:합니다|해요)|어렵습니다)"
)

LANGUAGES: Final[Mapping[str, Language]] = {
    "English": Language(
        sorry=r"sorry,|(?:my )?(?:sincere )?apologies\b",
        alas=r"unfortunately|regrettably",
        as_ai=r"(?:as|i'm|i am) (?:just |only )?(?:an? )?(?:ai|artificial"
        r" intelligence|(?:large )?language model)\b",
        unable=rf"{_CANNOT}|\bnot within my\b",
        refuses=rf"{_CANNOT}[^.!?\n]{{0,24}}?\b(?:answer|assist|comply|continue|discuss|do that"
        r"|engage|fulfil|help|provide|respond|support)|\bi must (?:\w+ )?decline\b"
        r"|this (?:request|question|content) (?:violates|goes against|is against)\b",
        hedges=r"\b(?:certainty|for (?:sure|certain)|definitive|exact|precise)",
        alone=r"(?:i am|i'm|we're|we are) (?:\w+ )?sorry\b|i (?:\w+ )?apologi[sz]e\b",
    ),
    "Spanish": Language(
        sorry=r"lo siento|lo lamento|lamento|disculp[ae]|perd[oó]n|perdona|mis disculpas"
        r"|me disculpo",
        alas=r"lamentablemente|desafortunadamente|por desgracia|yo",
        as_ai=r"como (?:una? )?(?:ia|inteligencia artificial|modelo de (?:ia|lenguaje)"
        r"|asistente)\b",
        unable=_NO_PUEDO,
        refuses=rf"(?:{_NO_PUEDO})[^.!?\n]{{0,24}}?\b(?:ayudar|asistir|responder|contestar"
        r"|proporcionar|ofrecer|facilitar|cumplir|hablar de|atender|continuar con|dar(?:te|le)?)",
        hedges=r"\b(?:certeza|exact|precis|segur)",
    ),
    "French": Language(
        sorry=r"(?:je suis )?(?:vraiment )?d\u00e9sol\u00e9e?|je (?:m'excuse|regrette)|excusez-moi"
        r"|toutes mes excuses",
        alas=r"malheureusement",
        as_ai=r"en tant qu(?:e |'|')(?:une? )?(?:ia|intelligence artificielle"
        r"|mod\u00e8le de langage|assistante?)\b",
        unable=_JE_NE_PEUX,
        refuses=rf"(?:{_JE_NE_PEUX})[^.!?\n]{{0,24}}?\b(?:aider|assister|r\u00e9pondre|fournir"
        r"|acc\u00e9der \u00e0|satisfaire|discuter|donner suite|accompagner|traiter)",
        hedges=r"\b(?:certitude|exact|pr\u00e9cis)",
    ),
    "German": Language(
        sorry=r"(?:es )?tut mir (?:sehr )?leid|entschuldig(?:ung|en sie)|verzeihung"
        r"|ich bedaure|ich entschuldige mich",
        alas=r"leider|bedauerlicherweise|das|dies|diese frage|dabei",
        as_ai=r"als (?:eine? )?(?:ki|k\u00fcnstliche intelligenz|(?:gro\u00dfes )?sprachmodell)",
        unable=_NICHT,
        refuses=rf"(?:{_NICHT})(?:,? (?:ihnen |dir |dabei |damit |diese[rsnm]? \w+ |zu ){{0,4}}"
        r"(?:zu )?)(?:helfen|weiterhelfen|beantworten|antworten|unterst\u00fctzen|nachkommen"
        r"|bereitstellen|erf\u00fcllen|dienen|diskutieren)",
        hedges=r"\b(?:sicherheit|genau|exakt)",
    ),
    "Portuguese": Language(
        sorry=r"desculp[ae]|sinto muito|lamento|pe\u00e7o desculpas?|perd\u00e3o",
        alas=r"infelizmente|eu",
        as_ai=r"como (?:uma? )?(?:ia|intelig\u00eancia artificial|modelo de (?:ia|linguagem)"
        r"|assistente)\b",
        unable=_NAO_POSSO,
        refuses=rf"(?:{_NAO_POSSO})[^.!?\n]{{0,24}}?\b(?:ajud|auxili|respond|fornec|atend|cumpr"
        r"|discut|prestar|oferec)",
        hedges=r"\b(?:certeza|exat|precis)",
    ),
    "Russian": Language(
        sorry=r"извините|простите|прошу прощения|приношу извинения|мне (?:очень )?жаль"
        r"|сожалею",
        alas=r"к сожалению(?:, я)?|увы|я",
        as_ai=r"(?:как|я|я -|я —) (?:ии|искусственный интеллект|языковая модель|нейросеть"
        r"|ии-\w+)\b",
        unable=_NE_MOGU,
        refuses=rf"(?:{_NE_MOGU})[^.!?\n]{{0,24}}?\b(?:помочь|помогать|ответить|отвечать|предостав"
        r"|выполн|обсужда|содейств|поддерж|оказать|оказывать)",
        hedges=r"\b(?:точн|уверен)",
    ),
    "Chinese": Language(
        sorry=r"(?:非常|很|十分|真的|实在)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾)",
        alas=r"可惜|很遗憾",
        as_ai=r"(?:作为|作為|身为|我是)(?:一个|一個|一名|一种)?(?:ai|人工智能|人工智慧"
        r"|大?语言模型|大?語言模型)",
        unable=_BUNENG,
        refuses=rf"(?:我们?|我們|本模型)?{_BUNENG}(?:直接|继续|為您|为您|为你|給您|给您|就此|对此|對此|向您"
        r"|协助|協助)?(?:回答|提供|帮助|幫助|帮您|帮你|协助|協助|讨论|討論|满足|滿足|完成(?:这|該|该|您|你)"
        r"|参与|參與|支持|回应|回應)",
        hedges=r"(?:确切|確切|准确|準確|精确|精確|确定|確定)",
        ends=r"。！？!?\n",
    ),
    "Japanese": Language(
        sorry=r"(?:大変|誠に)?(?:申し訳|申しわけ)(?:ありません|ございません|ない)|すみません"
        r"|ごめんなさい|恐れ入りますが|恐縮ですが",
        alas=r"残念ながら",
        as_ai=r"(?:私は)?(?:ai|人工知能|(?:大規模)?言語モデル)",
        unable=_DEKINAI,
        refuses=r"[^。！？\n]{0,60}?(?:お?答え|回答|応え|対応|提供|手伝い|支援|協力|サポート|お助け)"
        rf"(?:する|し|を|に|は|が|も|こと|いた|致){{0,6}}{_DEKINAI}(?!が|けれど|けど)",
        hedges=r"(?:正確|確実|厳密)",
        ends=r"。！？!?\n",
    ),
    "Korean": Language(
        sorry=r"(?:정말 |대단히 )?(?:죄송|미안|유감)(?:하지만|합니다|해요|스럽지만|하게도)",
        alas=r"안타깝(?:지만|게도)",
        as_ai=r"(?:저는 )?(?:ai|인공지능|(?:대규모 )?언어 ?모델)",
        unable=_EOPDA,
        refuses=r"[^.!?\n]{0,60}?(?:도와|도움|답변|대답|답해|답할|제공|지원|응답|응할|이행|협조)"
        rf"[^.!?\n,]{{0,10}}?{_EOPDA}",
        hedges=r"(?:정확|확실)",
    ),
    "Italian": Language(
        sorry=r"mi (?:di)?spiace|(?:sono )?spiacente|scusa(?:mi|te)?\b|mi scuso|chiedo scusa",
        alas=r"purtroppo|sfortunatamente",
        as_ai=r"(?:come|in quanto|essendo) (?:un'|una |un )?(?:ia|ai|intelligenza artificiale"
        r"|modello (?:di|linguistico)|assistente)\b",
        unable=_NON_POSSO,
        refuses=rf"(?:{_NON_POSSO})[^.!?\n]{{0,24}}?\b(?:aiutar|assister|risponder|fornir"
        r"|soddisfar|discuter|continuar|proseguir)",
        hedges=r"\b(?:certezza|esatt|precis|sicur)",
    ),
    "Dutch": Language(
        sorry=r"(?:het )?spijt me|sorry|(?:mijn )?excuses|excuseer",
        alas=r"helaas|jammer genoeg|daar|dat|dit|deze vraag",
        as_ai=r"als (?:een )?(?:ai|kunstmatige intelligentie|(?:groot )?taalmodel)\b",
        unable=_NIET,
        refuses=rf"(?:{_NIET})[^.!?\n]{{0,24}}?\b(?:helpen|beantwoorden|antwoorden|assisteren"
        r"|ondersteunen|verstrekken|voldoen)",
        hedges=r"\b(?:zeker|exact|precies)",
    ),
    "Arabic": Language(
        sorry=r"عذر[اًا]+|(?:أنا )?آسف|[أا]عتذر|نعتذر|(?:ال)?معذرة",
        alas=r"للأسف|مع الأسف|لسوء الحظ",
        as_ai=r"(?:بصفتي|كوني|بما أنني|أنا) (?:نموذج|ذكاء|مساعد)",
        unable=_LA,
        refuses=rf"{_LA}[^.!?؟\n]{{0,24}}?(?:مساعد|الإجابة|الاجابة|الرد|تقديم|توفير|تلبية|مناقشة)",
        hedges=r"(?:دقيق|بالضبط|بدقة|يقين|مؤكد)",
        ends=r".!?؟\n",
    ),
    "Vietnamese": Language(
        sorry=r"(?:tôi |mình )?(?:rất |thành thật )?(?:xin lỗi|tiếc)",
        alas=r"(?:thật )?đáng tiếc|tôi|mình|chúng tôi",
        as_ai=r"(?:là|với tư cách là|tôi là) (?:một )?(?:ai|trí tuệ nhân tạo|mô hình ngôn ngữ"
        r"|trợ lý)\b",
        unable=_KHONG,
        refuses=rf"(?:{_KHONG})[^.!?\n]{{0,24}}?\b(?:giúp|hỗ trợ|trả lời|cung cấp|đáp ứng"
        r"|thảo luận|tiếp tục)\b",
        hedges=r"\b(?:chính xác|chắc chắn|cụ thể)",
    ),
}
"""The table."""

_PATTERNS: Final = {name: language.pattern() for name, language in LANGUAGES.items()}


def is_refusal(text: str) -> bool:
    """Whether a text opens with a refusal to answer, in one of the languages of the table."""
    start = re.match(r"\W*+", text)
    opening = text[start.end() if start else 0 :][:_OPENING]
    # Typographic apostrophes are of no language.
    opening = unicodedata.normalize("NFC", opening).replace("\u2019", "'").lower()
    starts = [0]
    for _ in range(_COURTESIES):
        if (polite := _COURTESY.match(opening, starts[-1])) is not None:
            starts.append(polite.end())
    return any(pattern.match(opening, at) for at in starts for pattern in _PATTERNS.values())
