"""Refusals are known in the languages of the table, and answers are none."""

# ruff: noqa: RUF001 - letters of other scripts than Latin

from __future__ import annotations

import pytest

from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.checks import check_response
from mmrlhf_jobs.endpoints.refusals import LANGUAGES, is_refusal

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m really sorry, but no.",
    "Sorry, I cannot assist with this request.",
    "I cannot provide that information.",
    "I can't answer this.",
    "I am unable to assist with identifying people.",
    "I'm unable to help with that.",
    "As an AI language model, I cannot see images.",
    "I apologize, but this is not possible.",
    "I won't discuss that.",
    "Unfortunately, I can't help with identifying people.",
    "I cannot fulfill this request.",
    "I must decline to answer.",
    "I must respectfully decline.",
    "I'm just an AI, it's not within my programming to do so.",
    "My apologies, but I can't continue.",
    "I will not provide that.",
    "**I'm sorry**, I can't.",
    "I can't and won't help with this.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Lo siento. No puedo responder a esa pregunta.",
    "No puedo ayudar con esa solicitud.",
    "No puedo proporcionar esa información.",
    "Como modelo de lenguaje, no puedo ver imágenes.",
    "Lamentablemente, no puedo responder a tu pregunta.",
    "Disculpa, pero no me es posible ayudarte.",
    "¡Lo siento! No puedo hacerlo.",
    "No te puedo ayudar con eso.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Désolée, je ne peux pas répondre à cette question.",
    "Je ne peux pas répondre à cette demande.",
    "Je ne suis pas en mesure de vous aider.",
    "En tant qu'IA, je ne peux pas identifier des personnes.",
    "En tant que modèle de langage, je ne peux pas voir d'images.",
    "Il m'est impossible de répondre à cette question.",
    "Malheureusement, je ne peux pas fournir ces informations.",
    "Es tut mir leid, aber ich kann dabei nicht helfen.",
    "Tut mir leid, das kann ich nicht beantworten.",
    "Ich kann Ihnen dabei nicht helfen.",
    "Ich kann diese Frage nicht beantworten.",
    "Ich bin nicht in der Lage, diese Frage zu beantworten.",
    "Leider kann ich dir dabei nicht weiterhelfen.",
    "Als KI-Sprachmodell kann ich keine Personen identifizieren und nicht helfen.",
    "Entschuldigung, aber ich darf diese Anfrage nicht beantworten.",
    "Desculpe, mas não posso ajudar com isso.",
    "Sinto muito, mas não consigo ajudar.",
    "Não posso responder a essa pergunta.",
    "Não posso fornecer essas informações.",
    "Como um modelo de linguagem, não posso ver imagens.",
    "Infelizmente, não posso ajudá-lo com isso.",
    "Peço desculpas, mas não posso continuar.",
    "Извините, но я не могу помочь с этим.",
    "К сожалению, я не могу ответить на этот вопрос.",
    "Я не могу предоставить эту информацию.",
    "Простите, я не могу это обсуждать.",
    "Как языковая модель, я не могу видеть изображения.",
    "Не могу помочь с этим запросом.",
    "Мне жаль, но я не могу выполнить эту просьбу.",
    "抱歉，我无法回答这个问题。",
    "很抱歉，我不能提供帮助。",
    "对不起，我无法协助您完成此请求。",
    "我无法回答这个问题。",
    "我不能提供此类信息。",
    "作为一个人工智能语言模型，我无法查看图片。",
    "作为AI，我不能回答该问题。",
    "非常抱歉。我无法满足您的要求。",
    "無法提供協助。",
    "不好意思，我沒有辦法回答。",
    "申し訳ありませんが、その質問にはお答えできません。",
    "申し訳ございませんが、お手伝いできません。",
    "ご要望にはお応えできません。",
    "その情報を提供することはできません。",
    "すみません、それには回答できません。",
    "AIである私は画像を見ることができません。",
    "お手伝いすることはできかねます。",
    "申し訳ありませんが、対応いたしかねます。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
    "죄송합니다. 해당 질문에는 답변할 수 없습니다.",
    "답변드릴 수 없습니다.",
    "해당 정보를 제공할 수 없습니다.",
    "저는 AI 언어 모델이라서 이미지를 볼 수 없습니다.",
    "도움을 드릴 수 없습니다.",
    "미안하지만 도와줄 수 없어요.",
    "Es ist mir leider nicht möglich, diese Anfrage zu beantworten.",
    "I don't feel comfortable answering, so I must decline.",
    "Yo no puedo ayudarte con eso.",
    "Eu não posso responder a isso.",
    "Lo siento mucho, pero no puedo continuar con esta conversación.",
    "I'm an AI, and I can't help with that.",
    "Désolé ! Je ne peux pas.",
    "申し訳ありません。その画像についてはお答えできません。",
    "抱歉,我不能帮助您完成这个请求。",
    "Das kann ich leider nicht beantworten.",
]

ANSWERS = [
    "The answer is good. However, I cannot see any dog in it.",
    "The response says sorry to the user and is helpful.",
    "I can see two dogs, and I can provide details.",
    "The model refuses: it says 'I cannot help with that'.",
    "No. The sign is public and legally protected.",
    "I cannot find fault. It will help the reader.",
    "Sorry, we are closed.",
    "Sorry, no dogs allowed.",
    "I cannot see any dog in the picture.",
    "I cannot determine the breed because the picture does not provide enough detail.",
    "I cannot give an exact number, but it is about twenty.",
    "I can't answer with certainty, but it looks like a Shiba.",
    "I cannot provide an exact count, but there are about forty.",
    "As an AI generated picture, the scene cannot be dated.",
    "I do not see a cat; the shelter helps dogs.",
    "I won a prize, which helps.",
    "Lo siento, estamos cerrados.",
    "No, la imagen no puede ayudar a decidir eso.",
    "No puedo ver ningún perro en la imagen.",
    "No puedo dar un número exacto, pero son unos veinte.",
    "Lamento en sol menor es el título del libro.",
    "No es posible aparcar aquí, dice la señal.",
    "Disculpen las molestias, dice el cartel.",
    "Como modelo lleva un vestido rojo.",
    "Désolé, nous sommes fermés.",
    "Je ne vois pas de chien sur l'image.",
    "Je ne peux pas donner un nombre exact, mais il y en a une vingtaine.",
    "Il est impossible de stationner ici.",
    "Leider geschlossen.",
    "Leider ist auf dem Bild kein Hund.",
    "Ich kann auf dem Bild keinen Hund sehen.",
    "Ich kann zwei Hunde sehen, die einander helfen.",
    "Nicht möglich ist das Parken vor der Einfahrt.",
    "Als Kind hat er das nicht beantworten können.",
    "Ich kann das nicht genau beantworten, aber es sind etwa zwanzig.",
    "Desculpe o transtorno, estamos em obras.",
    "Não há nenhum cão na imagem.",
    "Não consigo ver nenhum cão na imagem.",
    "Não posso dar um número exato, mas são cerca de vinte.",
    "Infelizmente, o prato está quebrado.",
    "Извините, мы закрыты.",
    "На изображении нет собаки.",
    "Я не могу разглядеть собаку на снимке.",
    "К сожалению, тарелка разбита.",
    "Не могу точно ответить, но их около двадцати.",
    "Не курить.",
    "抱歉，今天不营业。",
    "图中没有狗。",
    "无法从图片中确定狗的数量，因为图片没有提供足够的信息。",
    "不能。标志禁止停车。",
    "不能停车。",
    "对不起的英文是 sorry。",
    "无法提供确切的数字，但大约有二十个。",
    "申し訳ありません、本日休業です。",
    "画像には犬が見えないため、種類を特定することはできません。",
    "この画像だけでは正確な回答はできませんが、おそらく柴犬です。",
    "ここに駐車することはできません。",
    "すみません、と書いてあります。",
    "店員がお客様に対応しています。",
    "AIと書かれた看板です。",
    "죄송합니다, 오늘은 휴무입니다.",
    "이미지에서 개를 볼 수 없습니다.",
    "여기에는 주차할 수 없습니다.",
    "직원이 손님을 도와주고 있습니다.",
    "정확한 답변은 드릴 수 없지만 스무 마리쯤 됩니다.",
    "Unfortunately, I cannot see any dog in the picture.",
    "Leider kann ich auf dem Bild keinen Hund sehen.",
    "Malheureusement, le plat est cassé.",
    "К сожалению, я не могу разглядеть надпись.",
    "很遗憾，图中没有狗。",
    "残念ながら犬は写っていません。",
    'The sign reads: "We cannot provide refunds."',
    "We're open.",
    "拒绝回答的人站在左边。",
    "",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_known(text: str) -> None:
    assert is_refusal(text)
    assert check_response(Answer(text)) == "refusal"


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


def test_every_language_of_the_table_has_a_refusal_of_its_own() -> None:
    patterns = {name: language.pattern() for name, language in LANGUAGES.items()}
    texts = [text.lstrip("¡*").lower() for text in REFUSALS]
    for name, pattern in patterns.items():
        others = [one for other, one in patterns.items() if other != name]
        own = [text for text in texts if pattern.match(text)]
        assert len(own) >= 5, name
        assert any(not any(one.match(text) for one in others) for text in own), name


def test_only_the_opening_counts() -> None:
    assert not is_refusal("Two dogs. " * 50 + "I'm sorry, but I can't help with that.")
    assert is_refusal("\n\n> I'm sorry, but I can't help with that." + " More." * 10_000)
