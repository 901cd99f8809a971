"""A thought is told from the answer after it, however it is written, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.answers.compare import extract
from colm.models.answers.thoughts import is_mark, marks_among, marks_in, opened_by, split_thought

HARMONY = (
    "<|channel|>analysis<|message|>so 41?<|end|><|start|>assistant<|channel|>final<|message|>42"
)
STRIP = "def strip(t):\n    return re.sub(r\"<think>.*?</think>\", '', t)\n"
FENCED = "```python\nTAG = '</think>'\ndef f():\n    return TAG\n```"
PROMPT = '```python\nP = """\n<think>\n</think>\n"""\n```\nIt prints a prompt.'
DOCSTRING = '    """Leave out everything.\n\n    </think> ends it.\n    """\n    return text\n'


@pytest.mark.parametrize(
    "text",
    [
        "<think>so 41?</think>42",
        "<think>\nso 41?\n</think>\n\n42",
        "  \n<THINK>so 41?</THINK> 42",
        "<thinking>so 41?</thinking>42",
        "<thought>so 41?</thought>42",
        "<Thought>\nso 41?\n</Thought>\n42",
        "<seed:think>so 41?</seed:think>42",
        "<longcat_think>so 41?</longcat_think>42",
        "<reasoning>so 41?</reasoning>\n42",
        "<reflection>so 41?</reflection>42",
        "[THINK]so 41?[/THINK]42",
        "\u25c1think\u25b7so 41?\u25c1/think\u25b742",
        "<|begin_of_thought|>so 41?<|end_of_thought|>"
        "\n\n<|begin_of_solution|>\n42\n<|end_of_solution|>",
        "<|START_THINKING|>so 41?<|END_THINKING|><|START_RESPONSE|>42<|END_RESPONSE|>",
        "<|inner_prefix|>so 41?<|inner_suffix|>42",
        "<|channel>thought\nso 41?<channel|>42",
        "Here is my thought process: so 41?\n\nHere is my response: 42",
        "Here are my reasoning steps:\nso 41?\n[BEGIN FINAL RESPONSE]\n42\n[END FINAL RESPONSE]",
        "<|open|>think<|sep|>so 41?<|close|>think<|sep|><|open|>response<|sep|>42"
        "<|close|>response<|sep|><|close|>message<|sep|>",
        HARMONY,
        f"{HARMONY}<|return|>",
        f"<|start|>assistant{HARMONY}",
        HARMONY.replace("final<", "final <|constrain|>json<"),
        "analysisso 41?assistantfinal42",
        # A prompt had opened it.
        "so 41?</think>42",
        "so 41?\n</think>\n\n42",
        "so 41?[/THINK]42",
        "so 41?\n[BEGIN FINAL RESPONSE]\n42",
    ],
)
def test_a_thought_and_its_answer_are_told_apart(text: str) -> None:
    assert split_thought(text) == ("so 41?", "42")
    assert extract(text, "numeric") == "42"


@pytest.mark.parametrize(
    "text",
    [
        "<think>so 41?",
        "[THINK]so 41?",
        "<|channel|>analysis<|message|>so 41?",
        "<|channel|>analysis<|message|>so 41?<|end|><|start|>assistant",
        "so 41?</think>",
        "<think>so 41?</think>\n \n",
    ],
)
def test_a_thought_that_nobody_answered_after_has_no_answer(text: str) -> None:
    thought, answer = split_thought(text)
    assert (thought, answer.strip()) == ("so 41?", "")
    assert extract(text, "numeric") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  42\n",
        "The answer is 42.",
        "TAG = '</think>'\n",
        STRIP,
        FENCED,
        PROMPT,
        DOCSTRING,
        "Write `<think>` before it and `</think>` after it.",
        'Say "</think>" when it is over, not "</thought>".',
        "Use the <think> tag to think.",
        "<p>so</p><reason>late</reason>",
        "The analysis is final: 42",
        "analysisResult = 42",
        "channel final",
        "Here is my thought process: 6 x 7. The answer is 42.",
        "Here are my reasoning steps:\n1. 6 x 7 = 42.",
        "[Thinking] I wonder. 42",
        "[REASONING]\n6 x 7\n[ANSWER]\n42",
    ],
)
def test_a_text_that_only_speaks_of_thoughts_stays_whole(text: str) -> None:
    assert split_thought(text) == ("", text)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>a</think><think>b</think>c", "a\n\nb", "c"),
        ("<think>a <think>b</think> c</think>d", "a <think>b</think> c", "d"),
        ("<think>\n<think>\na</think>b", "<think>\na", "b"),
        (
            "<think>I close it with '</think>' later</think>b",
            "I close it with '</think>' later",
            "b",
        ),
        ("<think>\n</think>\n    return 1\n", "", "    return 1\n"),
        ("<think></think>b", "", "b"),
        (f"<think>a</think>{FENCED}", "a", FENCED),
        (f"a\n</think>\n{FENCED}", "a", FENCED),
        ("so:\n```\n1 + 1\n</think>\n\n2", "so:\n```\n1 + 1", "2"),
        ("Let me see. <think>5?</think>4", "5?", "Let me see. 4"),
        ("It is 42.\n<think>or not", "or not", "It is 42.\n"),
        ("a [/THINK] b </think> c", "a", " b </think> c".strip()),
    ],
)
def test_thoughts_in_odd_places(text: str, thought: str, answer: str) -> None:
    assert split_thought(text) == (thought, answer)


@given(st.text(alphabet="ab <>/[]|'\"`\n\u25c1\u25b7", max_size=60), st.text(max_size=20))
def test_a_thought_at_the_beginning_takes_nothing_of_the_answer(thought: str, answer: str) -> None:
    whole = f"<think>{thought}</think>\n{answer}"
    assert split_thought(whole)[1].split() == answer.split()


@given(st.text(alphabet=st.characters(blacklist_characters="<[\u25c1")))
def test_a_text_without_a_tag_stays_whole(text: str) -> None:
    for start in ("Here", "analysis"):
        text = text.removeprefix(start)
    assert split_thought(text) == ("", text)


@pytest.mark.parametrize(
    ("end", "opened"),
    [
        ("<|im_end|>\n<|im_start|>assistant\n", ""),
        ("<|im_start|>assistant\n<think>\n", "<think>\n"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<|im_start|>assistant\n<think>\nOkay,", "<think>\nOkay,"),
        ("[/INST][THINK]", "[THINK]"),
        ("<|start|>assistant", ""),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis<|message|>"),
        ("<|start|>assistant<|channel|>final<|message|>", ""),
        ("Here are my reasoning steps:\n", "Here are my reasoning steps:\n"),
        ("role=assistant<|sep|><|open|>think<|sep|>", "<|open|>think<|sep|>"),
        ("<|turn>model\n<|channel>thought\n<channel|>", ""),
        ("", ""),
    ],
)
def test_a_prompt_that_leaves_a_thought_open_is_seen_to(end: str, opened: str) -> None:
    assert opened_by(end) == opened


def test_a_thought_that_the_prompt_opened_is_one_until_it_is_closed() -> None:
    steps = "Here are my reasoning steps:\n"
    assert split_thought("so 41?", opened="<think>\n") == ("so 41?", "")
    assert split_thought("so 41?</think>42", opened="<think>\n") == ("so 41?", "42")
    assert split_thought("so 41?", opened=steps) == ("so 41?", "")
    assert split_thought("so 41?\n[BEGIN FINAL RESPONSE]\n42", opened=steps) == ("so 41?", "42")
    # In a block of code that the thought leaves open it closes all the same.
    code = "```\nx = 41"
    assert split_thought(f"{code} </think>42", opened="<think>") == (code, "42")


def test_marks_that_a_template_cuts_at_are_known() -> None:
    template = (
        "{{ c.split('</think>')[-1] }}{{ 'Here is my thought process:' }}[BEGIN FINAL RESPONSE]"
    )
    assert marks_in(template) == {"</think>", "[BEGIN FINAL RESPONSE]"}


def test_control_tokens_that_make_up_marks_together_are_known() -> None:
    harmony = {"<|channel|>", "<|message|>", "<|end|>"}
    assert marks_among({*harmony, "<|im_end|>"}) == harmony
    assert marks_among({"<|message|>", "<|end|>", "<|close|>"}) == set()
    assert marks_among({"<|open|>", "<|sep|>", "[/THINK]"}) == {"<|open|>", "<|sep|>", "[/THINK]"}


def test_tokens_that_a_thought_is_found_by_are_known() -> None:
    for token in ("<think>", "</think>", "[THINK]", "[/THINK]", "<|END_THINKING|>", "<channel|>"):
        assert is_mark(token), token
    for token in ("<|im_end|>", "<s>", "[INST]", "<|channel|>", "think", ""):
        assert not is_mark(token), token
