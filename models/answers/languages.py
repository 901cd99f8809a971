# ruff: noqa: RUF001 - letters of other alphabets are intended
"""Phrases for "the answer is" in various languages. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from colm.models.answers.characters import ALNUM, JOINED

#: Characters that may stand between "answer" and "is".
GAP: Final = 40

#: A lower-case stem for a fast search; words for "answer"; words for "is", if the language has any.
_SPACED: Final = (
    (
        "answer",
        "(?:final)?answers?",
        "is|are|(?:would|will|must|should|has to) be|equals?"
        "|(?:comes|works out|turns out) to(?: be)?",
    ),
    ("ans", r"(?<![\w,.] )ans(?:\.(?=:))?", "is"),
    ("antwort", "antwort(?:en)?", "ist|sind|lautet|lauten|wäre|beträgt"),
    ("lösung", "lösung", "ist|lautet|beträgt"),
    ("ergebnis", "ergebnis", "ist|lautet|beträgt"),
    ("antwoord", "antwoord(?:en)?", "is|zijn|luidt"),
    ("respuesta", "respuestas?", "es|son|sería|será|debe ser"),
    ("réponse", "réponses?", "est|sont|serait|sera|doit être"),
    ("rispost", "rispost[ae]", "è|e'|sono|sarebbe"),
    ("resposta", "respostas?", "é|são|seria|será"),
    ("svar", "svar(?:et)?", "är|er"),
    ("odpowied", "odpowied(?:ź|zi)", "to|jest|brzmi"),
    ("odpověď", "odpověď", "je|zní"),
    ("ответ", "ответ(?:ом|а)?", "это|равен|равна|равно|является|будет|составляет"),
    ("відповід", "відповід[ьдю]+", "це|є|дорівнює|буде"),
    ("απάντηση", "απάντηση", "είναι"),
    ("cevap", "cevap", ""),
    ("yanıt", "yanıt", ""),
    ("jawaban", "jawaban(?:nya)?", "adalah|ialah|yaitu"),
    ("vastaus", "vastaus", "on"),
    ("válasz", "válasz", "az?"),
    ("đáp án", "đáp án", "là"),
    ("câu trả lời", "câu trả lời", "là"),
    ("إجابة", "(?:ال)?إجابة", "هي"),
    ("جواب", "(?:ال)?جواب", "هو"),
    ("תשובה", "ה?תשובה", "היא"),
    ("उत्तर", "उत्तर", ""),
    ("উত্তর", "উত্তর", ""),
)
_UNSPACED: Final = (
    (
        "答",
        r"(?:答案|答复|答えは?|答(?=[は:：])|正解|解答|回答)[^\n。.:：=はがも是为為选選]{0,12}?"
        r"(?:[:：=]|は|が|应该是|應該是|应是|就是|即为|即|是|为|為|选择|選擇|选|選)+",
    ),
    ("正解", r"正解[^\n。.:：=はがも]{0,12}?(?:[:：=]|は|が)+"),
    ("选", r"(?:故|所以|应|因此|应该|答案)选[:：]?"),
    ("選", r"(?:故|所以|應|因此|應該|答案)選[:：]?"),
    ("답", r"(?:정답|답변|답)(?:은|는|이|:|：|=)+"),
    ("คำตอบ", r"คำตอบ[^\n.:=]{0,20}?(?:คือ|:|=)"),
)
_NOTE = r"(?:\s?\([^()\n]{0,40}\))?"
_MARKS = r"[\s*_\"'\u201d`\]]{0,8}"


@lru_cache(maxsize=64)
def _pattern(noun: str, verb: str) -> str:
    statement = (
        rf"[^\n.:=。：]{{0,{GAP}}}?(?<!{JOINED})(?:{verb})(?!{JOINED})" if verb else r"(?=\s\S)"
    )
    label = rf"{_NOTE}(?:\s\w{{1,20}}){{0,2}}{_MARKS}(?:[:=：＝≈→⇒]|->)>?|\s[-–—]\s"
    return rf"(?<!{ALNUM})(?<!<)(?<!</)(?:{noun})(?!{JOINED}|>)(?:{label}|{statement})"


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.I)


def find_answer_phrases(text: str) -> Iterator[re.Match[str]]:
    """Matches of the phrases, language by language."""
    lower = text.lower()
    for stem, noun, verb in _SPACED:
        if stem in lower:
            yield from _compiled(_pattern(noun, verb)).finditer(text)
    for stem, pattern in _UNSPACED:
        if stem in lower:
            yield from _compiled(pattern).finditer(text)


#: A heading line with the answer on the next line.
HEADING: Final = re.compile(
    r"^[#*_ \t]*(?:(?:the|my|final|correct|short)[ \t]+){0,3}(?:answer|antwort|respuesta|réponse"
    r"|risposta|resposta|ответ|答案|答え|정답)[*_: \t]*\n\s{0,8}(?=\S)",
    re.I | re.M,
)
#: Beginning of another question that a model generates after its answer.
RUN_ON: Final = re.compile(
    r"^[ \t>*#]{0,8}(?:Problem|Exercise|(?P<asked>Question|Q|Human|User|Pregunta|Frage|Domanda"
    r"|Pergunta|Вопрос|问题|問題|問|问|질문|문제))"
    r"(?:[ \t]?\d{1,4})?[ \t*]{0,4}[:：]|^<\|im_start\|>",
    re.M,
)
