"""Answers made to hang, swell or break a grader: alone, and hidden among honest ones."""

import os
import resource
from pathlib import Path

import psutil
import pytest

from serl_trl.answers import verifier as verifier_module
from serl_trl.answers.equality import extract_answer, group_answers, group_many
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import majority_vote

# What is known to stop math-verify in a thread, and what was tried against its parser.
KNOWN = [
    r"9^{9^{9^9}}",
    "9^9^9^9",
    r"9^{9^9}",
    r"10^{10^9}",
    r"(10^8)!",
    r"\binom{10^9}{5*10^8}",
    "(((9!)!)!)!",
    r"2^{-10^{10}}",
    r"\log_2(2^{10^{11}})",
    r"\sum_{n=1}^{10^9}\sin n",
    r"\int_0^1 \frac{\ln(1+x^{2+\sqrt3})}{1+x} \sin(x^x) dx",
    r"\prod_{k=1}^{10^7}(1+\frac{1}{k^2})",
    r"9^{9^9}=9^{9^9}=9^{9^9}",
    r"\gcd(10^{10^8},3)",
    "(" * 3000 + "x" + ")" * 3000,
    r"\{" + ",".join(map(str, range(3000))) + r"\}",
    r" \cup ".join(f"({2 * i},{2 * i + 1})" for i in range(400)),
    r"\frac{1}{" * 300 + "x" + "}" * 300,
    r"\sqrt{" * 150 + "2" + "}" * 150,
    r"\begin{pmatrix} 1 & 1 \\ 1 & 0 \end{pmatrix}^{10000000}",
    "7" * 20_000,
    "3" * 5_000,
    "$a " * 4_000,
    "1 + " * 5_000 + "1",
    r"\boxed{" * 3_000 + "3" + "}" * 3_000,
    r"\boxed{" * 2_000,
    "__import__('os').system('exit 1')",
    "\u202e3\u202c",
    "3\x00",
    "\U0001f600" * 50,
    "1e999999999",
    r"x^{9^9^9}",
    r"7^{10^{12}} \mod 10",
    "(" + "".join(f"(x-{i})" for i in range(40)) + ") > 0",
]
MORE = [
    r"\int_{-\infty}^{\infty} e^{-x^4} \cos(x^3) dx",
    r"\sum_{k=0}^{\infty} \frac{\sin(k^2)}{k!+1}",
    r"\lim_{n\to\infty} \left(\prod_{k=1}^{n} \frac{k^k}{n^k}\right)^{1/n}",
    r"\int \frac{\sin(x^2)}{x^5+x+1} dx",
    r"\sum_{a=1}^{500}\sum_{b=1}^{500}\sum_{c=1}^{500} \frac{a+b}{b+c}",
    r"\prod_{k=1}^{5000} (x+k)",
    r"(x+y+z)^{9999}",
    r"(x+1)^{5000} - (x-1)^{5000}",
    r"\sin(\cos(\tan(\sin(\cos(\tan(\sin(\cos(\tan(x)))))))))",
    r"\frac{d^{200}}{dx^{200}} \tan(x^3)",
    "999!",
    r"\binom{9999}{4999}",
    r"\left(\frac{1}{3}\right)^{9999}",
    r"e^{9999}+\pi^{9999}",
    r"\det\begin{pmatrix} x&y&z&w\\ a&b&c&d\\ e&f&g&h\\ j&k&l&m \end{pmatrix}^{99}",
    r"x^{99}+x^{98}-x^{50}\sqrt{x}+\sin(x^{97}) = 0",
    r"\log(\log(\log(\log(\log(10^{9999})))))",
    r"\sum_{k=1}^{9999} \frac{1}{k}",
    r"\int_0^1\int_0^1\int_0^1 \frac{dx dy dz}{1-xyz}",
    r"\sum_{n=1}^{\infty} \frac{1}{n^5}",
    "|||||||x|-1|-2|-3|-4|-5|-6|",
    r"\lfloor 10^{999} \pi \rfloor",
    r"\sqrt[999]{2^{9999}+1}",
    r"\cos\frac{\pi}{9973}",
    r"x^{x^{x^{x^{x^{x^{x}}}}}}",
    r"(a+b+c+d)^{64}(a-b-c-d)^{64}",
    r"\frac{1}{" + "+".join(rf"\sqrt{{{n}}}" for n in (2, 3, 5, 7, 11, 13, 17, 19, 23)) + "}",
    "1/(a+b)+1/(c+d)+1/(e+f)+1/(g+h)+1/(j+k)+1/(m+n)",
    r"\text{" * 100,
    r"\\" * 500 + "5",
    r"\left(" * 400 + "1",
    "&" * 300,
    "{" * 500 + "}" * 500,
    "-" * 599 + "1",
    r"\pm" * 290 + "1",
    r"\frac" * 190,
    "a_" * 250,
    "5" + "!" * 500,
    r"\sqrt" * 110 + "x",
    r"\begin{pmatrix}" * 40,
    "\\" * 100_000,
    "{" * 100_000,
    "\ud800" + "5",
]
HOSTILE = KNOWN + MORE

HONEST = [
    (r"2^{n+1}", r"2\cdot 2^n", True),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}", True),
    (r"\sin 2x", r"2\sin x\cos x", True),
    (r"\tan x", r"\frac{\sin x}{\cos x}", True),
    (r"|x|", "x", False),
    (r"\frac12", "0.5", True),
    ("5", "6", False),
]
HONEST_ANSWERS = [answer for left, right, _ in HONEST for answer in (left, right)]


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as shared:
        shared.same([("\\sin(a)", "\\cos(a)")])
        yield shared


def verdicts(classes):
    return [classes[2 * i] == classes[2 * i + 1] for i in range(len(HONEST))]


def own_cpu_s():
    """Seconds of processor time here and in workers, which other work on the cores leaves alone."""
    workers = psutil.Process().children(recursive=True)
    times = [each.cpu_times() for each in workers] + [os.times()]
    return sum(each.user + each.system for each in times) + children_s()


def children_s():
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def peak_mb(verifier):
    status = Path(f"/proc/{verifier._slot.worker.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_there_are_enough_hostile_answers():
    assert len(KNOWN) == 34
    assert len(MORE) >= 30


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_answer_alone_costs_little_and_changes_no_vote(verifier, number):
    hostile = HOSTILE[number]
    extract_answer("so " + hostile)
    begin = own_cpu_s()
    extract_answer("\\boxed{" + hostile + "}")
    vote = majority_vote(["7", hostile, "7.0", hostile, "3", "7"], verifier=verifier)
    assert own_cpu_s() - begin < 10
    assert vote.answer == "7"
    assert vote.counts[0] == ("7", 3)
    assert vote.num_classes == 3


def test_memory_stays_bounded_and_no_worker_was_lost(verifier):
    assert peak_mb(verifier) < 512
    assert verifier.stats()["worker_losses"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [KNOWN, MORE], ids=["known", "more"])
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])
def test_hostile_answers_in_one_batch_change_no_honest_verdict(hidden, guarded, monkeypatch):
    if not guarded:  # whatever the guards miss has to be survived, too
        monkeypatch.setattr(verifier_module, "worth_checking", lambda text: True)
    with Verifier() as verifier:
        verifier.same([("\\sin(a)", "\\cos(a)")])
        begin = own_cpu_s()
        classes = group_answers(HONEST_ANSWERS + hidden, verifier=verifier)
        assert own_cpu_s() - begin < 60
        assert verdicts(classes) == [equal for *_, equal in HONEST]
        worker = verifier._slot.worker
        assert worker is None or peak_mb(verifier) < 1024
    if worker is not None:
        with pytest.raises(ProcessLookupError):
            os.killpg(worker.process.pid, 0)


def test_hostile_answers_in_other_groups_of_a_batch_change_no_honest_verdict():
    with Verifier() as verifier:
        verifier.same([("\\sin(a)", "\\cos(a)")])
        begin = own_cpu_s()
        hidden = [[answer, "3", r"\sin x"] for answer in HOSTILE[::3]]
        classes = group_many([*hidden, HONEST_ANSWERS], verifier=verifier)[-1]
        assert own_cpu_s() - begin < 60
        assert verdicts(classes) == [equal for *_, equal in HONEST]


def test_evaluating_an_answer_runs_nothing(tmp_path, verifier):
    mark = tmp_path / "mark"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    group_answers([code, "3", rf"\operatorname{{{code}}}", rf"\sum {code}"], verifier=verifier)
    verifier.same([(code, "3"), (f"({code})", "x")])
    assert not mark.exists()
