"""Forms in which models write their instructions: thoughts, tags, records, other languages."""

import json

import pytest

from serl_trl.propose.parsing.proposals import parse_proposals

ONE = "How many primes are below 50?"
TWO = "What is the area of a circle of radius 3?"
BOTH = [ONE, TWO]


def numbered(head: str = "{}. ") -> str:
    return "\n".join(head.format(number) + text for number, text in enumerate(BOTH, start=9))


THOUGHTS = [
    *("<think>", "<thinking>", "<thought>", "<Thoughts>", "<reasoning>", "<scratchpad>"),
    *("<analysis>", "<inner_monologue>", "<reflection>", "<planning>", "<chain_of_thought>"),
    *('<think lang="en">', "[THINK]", "◁think▷", "<|begin_of_thought|>", "<seed:think>"),
]


def closing(opening: str) -> str:
    bare = opening.split(" ")[0].rstrip(">")
    if "begin_of" in opening:
        return opening.replace("begin", "end")
    return (bare[0] + "/" + bare[1:]) + (">" if bare[0] == "<" else "")


@pytest.mark.parametrize("opening", THOUGHTS)
def test_thoughts_are_no_items_whether_they_end_or_not(opening):
    draft = f"{opening}\n9. A draft: how many are 3?\n10. Another?\n"
    end = closing(opening)
    assert parse_proposals(f"{draft}{end}\n{numbered()}") == BOTH
    assert parse_proposals(draft) == []
    assert parse_proposals(f"9. A draft?\n{end}\n{numbered()}") == BOTH
    assert parse_proposals(f"9. {ONE}\n{draft}{end}\n10. {TWO}") == BOTH
    assert parse_proposals(f"9. {ONE}\n{draft}") == [ONE]


def test_a_list_inside_an_answer_behind_the_thoughts_is_the_list():
    assert parse_proposals(f"<think>a</think>\n<answer>\n{numbered()}\n</answer>") == BOTH
    assert parse_proposals(f"<think>9. a?\n<answer>\n{numbered()}\n</answer>") == BOTH
    assert parse_proposals(f"analysisWe write 1. a?assistantfinal{numbered()}") == BOTH


@pytest.mark.parametrize(
    "text",
    [
        f"<instruction>{ONE}</instruction>\n<instruction>{TWO}</instruction>",
        f"9. <instruction>{ONE}</instruction>\n10. <instruction>{TWO}</instruction>",
        f"<instructions>\n{numbered()}\n</instructions>",
        f"<problem>{ONE}</problem><answer>15</answer>\n<problem>{TWO}</problem><answer>9</answer>",
        f"<item><question>{ONE}</question><answer>15</answer></item>"
        f"<item><question>{TWO}</question><answer>28</answer></item>",
        f"<question_1>{ONE}</question_1>\n<question_2>{TWO}</question_2>",
        f"<problem>9. {ONE}</problem>\n<problem>10. {TWO}</problem>",
        f"9. {ONE}\n<answer>15</answer>\n10. {TWO}\n<solution>9 pi</solution>",
        f"Here they are:\n<task>{ONE}</task>\n<task>{TWO}",
        f"<li>{ONE}</li><li>{TWO}</li>",
    ],
)
def test_tags_enclose_items_and_are_no_part_of_them(text):
    assert parse_proposals(text) == BOTH


@pytest.mark.parametrize(
    "text",
    [
        "9. Instruction: Find the mean.\n9. Input:\n3, 5\n9. Output:\n4",
        "Instruction: Find the mean.\nInput: 3, 5\nOutput: 4",
        "### Instruction:\nFind the mean.\n\n### Input:\n3, 5\n\n### Response:\n4",
        "Instrucción: Find the mean.\nEntrada: 3, 5\nSalida: 4",
        "指令：Find the mean.\n输入：3, 5\n输出：4",
        "**Instruction:** Find the mean.\n**Input:** 3, 5\n**Output:** 4",
        "<instruction>Find the mean.</instruction><input>3, 5</input><output>4</output>",
        '{"instruction": "Find the mean.", "input": "3, 5", "output": "4"}',
        '9. {"task": "Find the mean.", "input": "3, 5"}',
    ],
)
def test_an_instruction_keeps_its_input(text):
    assert parse_proposals(text) == ["Find the mean. 3, 5"]


def test_an_empty_input_is_no_input_and_what_is_asked_about_comes_first():
    assert parse_proposals("9. Instruction: Say it.\nInput: <noinput>\nOutput: it") == ["Say it."]
    assert parse_proposals('[{"instruction": "Find it.", "input": ""}]') == ["Find it."]
    told = "A train goes 60 miles in an hour. How far does it go in 2 hours?"
    first, second = told.split(". ")
    first += "."
    assert parse_proposals(json.dumps([{"problem": first, "question": second}])) == [told]
    assert parse_proposals(json.dumps([{"question": second, "context": first}])) == [told]
    assert parse_proposals(f"<context>{first}</context><question>{second}</question>") == [told]


KEYS = [
    *("q", "Q", "Question", "problem_text", "problemText", "new_question", "prompt", "query"),
    *("input_question", "math_problem", "题目", "pregunta", "Frage", "exercise", "statement"),
    *("Problem Statement", "task_description", "title_text", "foo", "问题", "задача"),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_record_is_read_by_the_kind_of_its_keys(key):
    rows = [
        {"id": number, "difficulty": "easy", "topic": "Number theory", key: text, "answer": "15"}
        for number, text in enumerate(BOTH)
    ]
    assert parse_proposals(json.dumps(rows)) == BOTH
    assert parse_proposals(json.dumps(rows, ensure_ascii=False, indent=2)) == BOTH
    assert parse_proposals(repr(rows)) == BOTH
    assert parse_proposals("\n".join(map(json.dumps, rows))) == BOTH
    assert parse_proposals("\n".join(f"{9 + n}. {json.dumps(r)}" for n, r in enumerate(rows))) == (
        BOTH
    )


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"questions": BOTH}),
        json.dumps({"1": ONE, "2": TWO}),
        json.dumps({"question1": ONE, "answer1": "15", "question2": TWO, "answer2": "28"}),
        json.dumps({"data": {"items": [{"q": ONE, "a": "5"}, {"q": TWO, "a": "6"}]}}),
        "Here is the JSON:\n```json\n" + json.dumps([{"q": ONE}, {"q": TWO}]) + "\n```\nEnjoy!",
        f'[{{question: "{ONE}"}}, {{question: "{TWO}"}},]',
        f'[{{"question": "{ONE}" "answer": 15}} {{"question": "{TWO}", "answer": None}}',
        f'[{{"question": "{ONE}"}}, {{"question": "{TWO}", "answer": "tw',
        f"[“{ONE}”, “{TWO}”]",
        f"['{ONE}', '{TWO}']",
    ],
)
def test_records_that_no_reader_of_json_would_take(text):
    assert parse_proposals(text) == BOTH


def test_quotation_marks_that_nobody_escaped():
    assert parse_proposals("[{'question': 'What is Ann's age?'}]") == ["What is Ann's age?"]
    assert parse_proposals("{'question': 'What is Ann\\'s age?'}") == ["What is Ann's age?"]
    assert parse_proposals("{'question': \"What is Ann's age?\"}") == ["What is Ann's age?"]
    assert parse_proposals('[{"q": "What is a "prime"?"}]') == ['What is a "prime"?']


def test_choices_belong_to_their_question():
    row = {"question": "Which is prime?", "options": ["4", "5"], "answer": "B"}
    assert parse_proposals(json.dumps(row)) == ["Which is prime? (A) 4 (B) 5"]
    row["options"] = {"A": "4", "B": "5"}
    assert parse_proposals(json.dumps(row)) == ["Which is prime? (A) 4 (B) 5"]
    row["options"] = ["A) 4", "B) 5"]
    assert parse_proposals(json.dumps(row)) == ["Which is prime? A) 4 B) 5"]


def test_lists_that_are_data_stay_in_their_item():
    for text in ("[1, 2, 3] is a list. What is its sum?", "{1, 2} is a set. How large is it?"):
        assert parse_proposals(f"1. {text}\n2. {ONE}") == [text, ONE]


HEADS = [
    *("Frage {}:", "Question {} :", "Pregunta {}.", "Задача {}.", "第{}题", "第{}题：", "题目{}："),
    *("问题{}：", "問題{}", "问{}：", "문제 {}.", "{}번 문제:", "Aufgabe {})", "**Frage {}:**"),
    *("### Задача №{}", "Exercice n° {} :", "Pergunta {}:", "Domanda {}:", "Vraag {}:"),
    *("Zadanie {}.", "Uppgift {}:", "Soru {}:", "Câu {}:", "Câu hỏi {}:", "Soal {}.", "السؤال {}:"),
    *("प्रश्न {}:", "【题目{}】", "{}、", "{}．", "Problème {} :", "Kysymys {}:", "{}. Frage:"),
    *(
        "{}º)",
        "[Frage {}]",
        "Ejercicio {}:",
        "例题{}：",
        "{}. feladat:",
        "Aufgabe Nr. {}:",
        "Ερώτηση {}:",
    ),
]


@pytest.mark.parametrize("head", HEADS)
def test_headers_of_other_languages_count(head):
    assert parse_proposals(numbered(head + " ")) == BOTH
    assert parse_proposals(numbered(head + "\n") + "\n\n") == BOTH


def test_chinese_numbers_count():
    for first, second in (("一", "二"), ("九", "十"), ("十", "十一"), ("十九", "二十")):
        assert parse_proposals(f"{first}、{ONE}\n{second}、{TWO}") == BOTH
        assert parse_proposals(f"第{first}题：{ONE}\n第{second}题：{TWO}") == BOTH


ANSWERS = [
    *("Respuesta: 15", "Respuesta correcta: 15", "La respuesta: 15", "*Respuesta:* 15"),
    *("(Respuesta: 15)", "Solución:\nHay 15.", "Explicación: hay 15.", "Antwort: 15"),
    *("**Antwort:** 15", "- Antwort: 15", "Lösung:\nEs sind 15.", "Réponse : 15", "Corrigé : 15"),
    *("答案：15", "答：15个", "解：15", "解答：15", "参考答案：15", "答え：15", "Ответ: 15"),
    *("Решение: 15", "답: 15", "정답: 15", "풀이: 15", "Risposta: 15", "Soluzione: 15"),
    *("Resposta: 15", "Antwoord: 15", "Odpowiedź: 15", "Svar: 15", "Cevap: 15", "Đáp án: 15"),
    *("Jawaban: 15", "الجواب: 15", "תשובה: 15", "उत्तर: 15", "Απάντηση: 15", "Vastaus: 15"),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_in_other_languages_are_cut_off(answer):
    assert parse_proposals(f"9. {ONE}\n{answer}\n10. {TWO}\n{answer}") == BOTH
    assert parse_proposals(f"9. {ONE}\n\n{answer}\n\n10. {TWO}\n\n{answer}") == BOTH


@pytest.mark.parametrize("key", ["Respuestas:", "参考答案：", "Lösungen", "**Ответы:**"])
def test_an_answer_key_in_another_language_ends_the_list(key):
    assert parse_proposals(f"{numbered()}\n\n{key}\n9. 15\n10. 28") == BOTH


INTRODUCTIONS = [
    "These are just a few examples of the many ways in which numbers are used.",
    "The following are examples of word problems for students.",
    "Some more examples of problems that you can use in class.",
    "For example, this is a list of tasks about numbers.",
    "Each of these exercises trains another skill.",
]


@pytest.mark.parametrize("text", INTRODUCTIONS)
def test_an_introduction_is_no_instruction(text):
    assert parse_proposals(text) == []
    assert parse_proposals(f" {text}\n{numbered()}") == BOTH
    assert parse_proposals(f"{numbered()}\n\n{text}") == BOTH
    assert parse_proposals(f"9. {ONE}\n10. {text}\n11. {TWO}") == BOTH


def test_what_asks_nothing_before_a_list_that_asks_is_no_item():
    assert parse_proposals(f" Numbers are fun.\n{numbered()}") == BOTH
    assert parse_proposals(f" 3 + 4 = ?\n{numbered()}") == ["3 + 4 = ?", *BOTH]
    assert parse_proposals(" Numbers are fun.\n10. Names are fun.") == [
        "Numbers are fun.",
        "Names are fun.",
    ]


@pytest.mark.parametrize("part", [" 1. 1. 2. 3.\n", "1. 1. 2. 3. ", "1.\n1.\n2.\n3.\n", "1) 2) "])
def test_numbers_that_count_nothing_are_no_items(part):
    assert parse_proposals(part * 16) == []
