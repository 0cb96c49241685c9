"""Words by which a text names a question, an answer or a task, in the languages models write."""

import re

_I = re.IGNORECASE

_ENGLISH_ITEM = "problem|question|exercise|task|instruction"
_SPACED_ITEM = (
    "frage|aufgabe|übung|beispiel|anweisung|instrucci[oó]n|instruç[aã]o|istruzione|инструкция"
    "|problème|exercice|exemple|tâche|consigne"
    "|pregunta|problema|ejercicio|ejemplo|tarea|pergunta|quest[aã]o|exerc[ií]cio|exemplo"
    "|domanda|esercizio|esempio|quesito|compito|întrebarea?|exercițiul?"
    "|vraag|opgave|oefening|opdracht|fråga|uppgift|övning|spørgsmål|opgave|spørsmål|oppgave"
    "|pytanie|zadanie|ćwiczenie|otázka|úloha|příklad|kysymys|tehtävä|kérdés|feladat"
    "|soru|alıştırma|örnek|câu hỏi|câu|bài toán|bài tập|bài|pertanyaan|soal"
    "|задача|вопрос|упражнение|задание|пример|завдання|питання|запитання|въпрос"
    "|ερώτηση|άσκηση|πρόβλημα|السؤال|سؤال|المسألة|مسألة|تمرين|שאלה|תרגיל|پرسش|سوال"
    "|प्रश्न|सवाल|প্রশ্ন"
)
_UNSPACED_ITEM = (
    "练习题|練習問題|问题|問題|题目|題目|例题|例題|习题|練習|练习|質問"
    "|指令|指示|문제|질문|예제|题|題|问|問|คำถาม|โจทย์|ข้อ"
)
ITEM = rf"(?:{_ENGLISH_ITEM}|{_SPACED_ITEM}|{_UNSPACED_ITEM})"
"""What heads one instruction, before or behind its number."""

COUNTER = r"(?:道?[题題]|[问問](?:题|題)?|번(?: ?(?:문제|질문))?)"
"""What stands behind a number that counts instructions: 第9题, 9번."""

SPACED_ANSWER = (
    "antwort(?:en)?|lösung(?:en|sweg)?|loesung|erklärung|begründung|ergebnis"
    "|r[ée]ponses?|corrigés?|correction|explication"
    "|respuestas?(?: correctas?)?|soluci[oó]n(?:es)?|explicaci[oó]n|resultado"
    "|respostas?(?: corretas?)?|soluç(?:ão|ões)|resolução|explicação|gabarito"
    "|rispost[ae]|soluzion[ei]|spiegazione|răspuns|soluți[ea]"
    "|antwoord(?:en)?|oplossing(?:en)?|uitleg|svar|lösning|løsning|forklaring"
    "|odpowied[źz]|rozwiązanie|odpověď|řešení|vastaus|ratkaisu|válasz|megoldás"
    "|cevap|yanıt|çözüm|đáp án|trả lời|lời giải|giải|jawaban|jawab|penyelesaian|pembahasan"
    "|ответы?|решени[ея]|объяснение|відповідь|розв'язання|отговор"
    "|απάντηση|λύση|الجواب|جواب|الإجابة|إجابة|الحل|תשובה|פתרון|پاسخ|उत्तर|हल|समाधान|উত্তর"
)
UNSPACED_ANSWER = (
    "参考答案|正确答案|答案|解答|解析|回答|答え|解説|答|解|정답|해답|답안|답변|풀이|답|คำตอบ|เฉลย"
)
FOREIGN_ANSWER = rf"(?:{SPACED_ANSWER}|{UNSPACED_ANSWER})"
"""What heads an answer or a solution in another language than English."""

ANSWER_KEY = (
    "antworten|lösungen|réponses|corrigés|respuestas|soluciones|respostas|soluções|risposte"
    "|soluzioni|antwoorden|oplossingen|ответы|решения|参考答案|答案与解析|解答例"
)
"""What heads the answers of all instructions together."""

VERDICT_LABEL = re.compile(
    r"^[\W_]{0,4}(?:(?:label|sentiment|class|category)\s?[:=]\s?)?[\[(*_]{0,3}"
    r"(?:(?:very |strongly )?(?:positive|negative|neutral|mixed)|true|false|yes|no|(?:in)?correct"
    r"|right|wrong|(?:in)?valid|entailment|contradiction|(?:not )?spam|ham|good|bad"
    r"|positiv|negativ|wahr|falsch|ja|nein|richtig|vrai|faux|oui|non|positif|négatif"
    r"|verdadero|falso|s[ií]|positivo|negativo|verdadeiro|sim|não|vero"
    r"|正面|负面|中性|积极|消极|正确|错误|肯定|否定|положительный|отрицательный|верно|неверно|да|нет)"
    r"[\])*_]{0,3}\s?[:：]",
    _I,
)
"""A text that begins with what may be its own answer: "Positive: ...", "False: ..."."""

UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""A sign of a script that puts no blanks between words."""

_FUNCTION_WORDS = (
    "is are was were the a an not and to el la los las es un una de der die das ist sind ein eine"
    " le les est une des il di che è o os as um uma het een van и в на не это"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Small words of languages whose questions and orders are known here."""

# Where a clause begins: at the start, after punctuation or emphasis, after a linking word.
START = (
    r"(?:^|[.?!:;,)\]}$\n*_\"'(。！？；：，、] {0,3}|\b(?:then|please|also|now|can you|could you) )"
)

_ORDER = (
    "find|compute|calculate|determine|evaluate|simplify|solve|express|factor|expand|write|give"
    "|state|enter|convert|list|count|estimate|round|add|subtract|multiply|divide|name|identify"
    "|choose|select|fill|complete|order|arrange|reduce|rationalize|prove|show|verify|tell|sum"
    "|square|approximate|differentiate|integrate|derive|describe|explain|graph|draw|sketch|plot"
    "|work out|figure out|guess|decide|combine|compare|predict|use|put|rewrite|represent"
    "|construct|minimi[sz]e|maximi[sz]e|suppose|translate|check|answer|classify|summari[sz]e"
    "|correct|sort|match|label|rank|paraphrase|outline|discuss|analy[sz]e|define|spell|read"
)
_BLANK = (
    r"[?？؟՞]|[\u0370-\u03ff] ?;|_{2,}|\\_|\\underline\b|=\s{0,3}\$?\s{0,3}$|(?-i:\(A\))"
    r"|\\(?:square|Box)\b|[□▢◻]|[(（]\s{1,8}[)）]|（）|\bis:?\s{0,3}$|\btrue or false\b"
    r"|\b(?:is|are|was|were|equals?|the|an?|called|of|to|by|in)[: ]{1,3}(?:\.{3}|…)"
)
_FOREIGN_ORDER = (
    # The same in other languages; none of these is a word of English.
    "berechnen?|bestimmen?|löse[nt]?|ermittl?e[ln]?n?|vereinfach\\w{0,3}|nenne|schreiben?|zeige"
    "|beweise|begründe|erkläre|ordne|runde|gib|wie viele?s?|wieviele?|welche[rsmn]?|warum|wann"
    "|calcul(?:ez|er|ons|a|ar|as|en)|calcule[rz]?|trouve[rz]?|détermine[rz]?|résou(?:s|dre|dez)"
    "|simplifie[rz]?|montre[rz]?|donne[rz]?|écri(?:s|re|vez)|exprime[rz]?|démontre[rz]?|explique[rz]?"
    "|combien|quel(?:le)?s?|pourquoi"
    "|encuentr[ae]|encontrar|encontre|hall[ae]r?|determin(?:a|ar|en)|resuelv[ae]|resolver|resolva"
    "|simplific[ae]r?|simplifique|demuestr[ae]|muestr[ae]|escrib[ae]|escreva|conviert[ae]|converta"
    "|expres[ae]|explica|explique|mostre|cu[aá]nt[oa]s?|cuál(?:es)?|qué|cómo|quant[oaie]s?|qual|quais"
    "|calcola(?:re)?|trova(?:re)?|risolv(?:i|ere|ete)|semplifica|dimostra|scrivi|spiega|quale|quali"
    "|bereken|bepaal|vereenvoudig|schrijf|hoeveel|welke|oblicz|znajdź|wyznacz|rozwiąż|uprość|podaj"
    "|ile|najdi|vypočít\\w{1,4}|určete|kolik|beräkna|bestäm|hur många|beregn|hvor mange|laske"
    "|számít\\w{2,5}|határoz\\w{1,3}|oldd|mennyi|hány|montako|hesapla\\w{0,8}|bulun\\w{0,4}|çöz\\w{0,6}|kaç\\w{0,6}|nedir|hangi"
    "|tính|tìm|giải|bao nhiêu|mấy"
    "|hitung(?:lah)?|tentukan(?:lah)?|carilah|selesaikan(?:lah)?|berapa(?:kah)?|calculați|aflați"
    "|найди(?:те)?|вычисли(?:те)?|определи(?:те)?|реши(?:те)?|упрости(?:те)?|докажи(?:те)?"
    "|запиши(?:те)?|назови(?:те)?|сколько|чему|каков\\w{0,2}|знайд(?:и|іть)|обчисл(?:и|іть)|скільки"
    "|βρείτε|βρες|υπολογίστε|λύστε|πόσ\\w{1,3}|احسب|أوجد|اكتب|كم|חשב|מצא|כמה"
    "|ज्ञात|गणना|कितन\\S{1,2}|क्या"
)
_UNSPACED_ORDER = (
    "求|计算|計算|证明|證明|化简|写出|寫出|找出|解方程|解不等|判断|比较|填空|多少|几|什么|什麼|哪|吗"
    "|简述|说明|翻译|求め|解け|解きな|なさい|せよ|ください|いくつ|いくら|何|どれ|どこ|ですか|구하|계산하|계산해"
    "|하시오|하세요|쓰시오|푸시오|인가|무엇|얼마|몇|จง|เท่าไร|เท่าใด|กี่|คืออะไร"
)
_ASKED = (
    r"\b(?:task|job|goal|aim|exercise|problem|question) is to |\byou (?:are asked to|are to|need to"
    r"|have to|must|should) |\bwant you to "
)
# Behind "to" or "and" a verb tells as often as it orders; behind a comma "which" and "who" relate.
ASKS = re.compile(
    rf"{_BLANK}"
    r"|\b(?:how many|how much|how long|how far|what is|what are|which of|is it true)\b"
    rf"|{START}(?:what(?! an?\b)|how (?:old|tall|high|wide|deep|fast|often|big|large|do|does|did"
    r"|can|is|are)|whose)\b|(?:^|[.?!:;\n] {0,3})(?:which|who)\b"
    rf"|(?:{START}|{_ASKED})(?:\w{{2,15}}ly )?(?:{_ORDER})\b"
    rf"|\b(?:{_FOREIGN_ORDER})\b|{_UNSPACED_ORDER}",
    _I,
)
"""A question, an order to the solver, or a blank to fill, in any of these languages."""

MAY_ASK = re.compile(
    rf"{ASKS.pattern}|\b(?:find|compute|calculate|determine|evaluate|simplify|solve|express|factor"
    r"|expand|write|convert|enter|for what)\b",
    _I,
)
"""What a line of an instruction may hold, told less strictly: it need not begin a clause."""
