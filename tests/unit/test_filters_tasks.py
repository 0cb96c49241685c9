"""What asks something, and what only looks as if; what a text brings along that is no problem."""

import pytest

from serl_trl.filters.english.leaks import check_answer_leak
from serl_trl.filters.english.quality import (
    check_length,
    check_model_talk,
    check_one_question,
    check_question,
    check_special_tokens,
)
from serl_trl.filters.gate import ProposalFilter

STATEMENTS = [
    "24 is not a multiple of 24",
    "The sum of 3 and 4 is 7.",
    "Every even number greater than 2 is the sum of two primes.",
    "You can use these numbers to find the sum.",
    "The number 24 is used to count apples and to order them.",
    "The number 24 is a multiple of 12, which is a multiple of 6.",
    "It is easy to show that 2 is even.",
    "A student who reads learns to write and to describe.",
    "When it rains the ground is wet.",
    "What a lovely film this is.",
    "24 no es un múltiplo de 5.",
    "24 ist kein Vielfaches von 5 und die Zahl ist gerade.",
    "Le nombre 24 est un multiple de 12.",
    "24不是5的倍数。",
    "(a) 24 is a multiple of 24. (b) 12 is a multiple of 24.",
]
TASKS = [
    "The sum of 3 and 4 is?",
    "The sum of 3 and 4 is ____.",
    "The capital of France is ...",
    "Let $f(x) = x^2$. Then $f(3)$ equals ...",
    "True or false: 24 is a multiple of 12.",
    "Your task is to find the sum of 3 and 4.",
    "I want you to find the sum of 3 and 4.",
    "Given that x is 3, what is y in y = 2x",
    "Classify the sentence as positive or negative: 'The film is bad.'",
    "The largest of these is (A) 3 (B) 4 (C) 5",
    "3 + □ = 7",
    "Calcula la suma de 3 y 4.",
    "Halla el valor de x.",
    "Berechne die Summe von 3 und 4.",
    "Gib die Lösung der Gleichung an.",
    "Wie viel ist 3 mal 4",
    "Résolvez l'équation x + 3 = 7.",
    "Trouve la somme de 3 et 4.",
    "Calcola la somma di 3 e 4.",
    "Calcule a soma de 3 e 4.",
    "Bereken de som van 3 en 4.",
    "Oblicz sumę liczb 3 i 4.",
    "Найдите сумму чисел 3 и 4.",
    "计算3加4的值。",
    "求x的值。",
    "3加4等于多少",
    "3と4の和を求めよ。",
    "次の方程式を解きなさい。",
    "3과 4의 합을 구하시오.",
    "ما هو مجموع 3 و 4؟",
    "احسب مجموع 3 و 4.",
    "3 और 4 का योग ज्ञात कीजिए।",
    "3 ile 4'ün toplamını bulunuz.",
    "Tính tổng của 3 và 4.",
    "Hitunglah jumlah 3 dan 4.",
    "Izračunaj zbroj brojeva 3 i 4.",
    "Ποιο είναι το άθροισμα;",
    "จงหาผลบวกของ 3 และ 4",
    "3 மற்றும் 4 இன் கூட்டுத்தொகையைக் கண்டறியவும்.",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_is_no_task(text):
    assert check_question(text).reason == "no_question"


@pytest.mark.parametrize("text", TASKS)
def test_a_task_is_known_in_any_language(text):
    assert check_question(text).keep


@pytest.mark.parametrize(
    "text",
    [
        "a) 24 is a multiple of 24 b) 12 is a multiple of 24 c) 24 is not a multiple of 5",
        "A. Find the sum of 3 and 4. B. Compute the product of 5 and 6. C. Solve for x.",
        "Here are examples. (a) Find the sum of 3 and 4. (b) Name the next prime.",
        " ".join(
            f"{letter}) The number {n} is one of many." for n, letter in enumerate("abcdefgh")
        ),
    ],
)
def test_a_lettered_list_is_not_one_question(text):
    assert check_one_question(text).reason == "several_questions"


@pytest.mark.parametrize(
    "text",
    [
        "A number plus 3 equals: (A) 3 (B) 4 (C) 5",
        "Which is largest? A. 0.10 B. 0.15 C. 0.20",
        "A rectangle has (a) length 3, (b) width 4 and (c) height 5. Find its volume.",
        "A. Smith, B. Jones and C. Brown share 12 apples. How many does each get?",
    ],
)
def test_letters_that_are_choices_or_names_are_one_question(text):
    assert check_one_question(text).keep


MARKUP = [
    '[{"q": "What is 2 + 3?", "a": "5"}]',
    "{'question': 'What is 2 + 3?'}",
    '["What is 2 + 3?", "What is 4 + 5?"]',
    '{"instruction": "What is the sum of',
    "<question>What is 2 + 3?</question>",
    "What is 2 + 3? </instruction>",
    "<p>What is 2 + 3?</p>",
    "<reasoning> What is 2 + 3?",
]


@pytest.mark.parametrize("text", MARKUP)
def test_records_and_tags_are_no_instruction(text):
    assert check_special_tokens(text, special_tokens=()).reason == "special_token"


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2, 3] is a list. What is its sum?",
        "{1, 2, 3} is a set. How many subsets does it have?",
        "If a<b and c>d, what is the sign of a-b?",
        'In {"a": 1}, which key holds 1?',
        "What does the tag <b> do in a page?",
    ],
)
def test_brackets_of_mathematics_are_no_markup(text):
    assert check_special_tokens(text, special_tokens=()).keep


@pytest.mark.parametrize(
    "text",
    [
        "Positive: What a film is this?",
        "**Negative**: How sad is it?",
        "False: Is 7 prime?",
        "Label: positive. Is it?".replace(".", ":"),
        "正面：这部电影好看吗？",
        "Was ist 3 mal 4? Lösung: 12",
        "¿Cuánto es 3 por 4? Respuesta: 12",
        "3 fois 4 font combien ? Réponse : 12",
        "小于50的素数有多少个？答案：15",
        "3かける4は？ 答え：12",
        "Сколько будет 3 + 4? Ответ: 7",
    ],
)
def test_an_answer_in_any_language_and_a_label_before_the_text_are_leaks(text):
    assert check_answer_leak(text).reason == "answer_leak"


def test_a_word_for_a_liquid_is_no_leak_in_another_language_either():
    assert check_answer_leak("Se mezcla una solución: 3 litros y 2 de agua. ¿Cuánto hay?").keep
    assert check_answer_leak("Sentence: The film is bad. Is it positive or negative?").keep


def test_an_introduction_talks_to_the_reader():
    text = "These are just a few examples of the many kinds of problems you may meet."
    assert check_model_talk(text).reason == "talks_to_model"


@pytest.mark.parametrize(
    "text",
    ["水的化学式是什么？", "日本の首都はどこですか？", "한국의 수도는 어디입니까?", "首都はどこ？"],
)
def test_scripts_without_blanks_have_words_too(text):
    assert check_length(text, min_words=4, max_words=150).keep
    assert not check_length(text * 90, min_words=4, max_words=150).keep


@pytest.mark.parametrize(
    "text",
    [
        "These are just a few examples of the many ways in which numbers are used.",
        "24 is not a multiple of 24",
        "1. 2. 3. 1. 2. 3. 1. 2. 3.",
        "Positive: Is 24 a multiple of 12?",
    ],
)
def test_what_a_small_model_wrote_becomes_no_instruction(text):
    assert not ProposalFilter().judge(text).keep
