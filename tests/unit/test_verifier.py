"""The verifier: what it remembers, what it survives, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from serl_trl.answers.verifier import Verifier, worth_checking
from serl_trl.common.limits import refuse_access

# A worker that holds answers of one length equal, and knows `VALUES` of some. `FAULT` runs when an
# answer contains "bad", and only once per test when it calls `once()`.
FAKE = """
import json, os, signal, sys, time

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()

def once():
    if os.path.exists(FLAG):
        return False
    open(FLAG, "w").close()
    return True

START
say('{"id": 0, "verdict": "ready"}\\n')
for line in sys.stdin:
    job = json.loads(line)
    texts = [job[name] for name in ("text", "left", "right") if name in job]
    fault = any("bad" in text for text in texts)
    verdict = "passed" if job["op"] == "probe" else "unequal"
    values = VALUES.get(texts[0])
    if job["op"] == "same" and len(texts[0]) == len(texts[1]):
        verdict = "equal"
    if fault:
        pass
        FAULT
    say(json.dumps({"id": job["id"], "verdict": verdict, "values": values}) + "\\n")
"""


@pytest.fixture
def fake(tmp_path):
    """Make verifiers on fake workers, and end them after the test."""
    made = []

    def make(fault="pass", start="", values=None, **options):
        program = tmp_path / f"worker{len(made)}.py"
        text = (
            FAKE.replace("FAULT", fault)
            .replace("START", start)
            .replace("VALUES", repr(values or {}))
        )
        program.write_text(text.replace("FLAG", repr(str(tmp_path / f"flag{len(made)}"))))
        options = {"patience_s": 0.5} | options
        made.append(Verifier(command=[sys.executable, str(program)], **options))
        return made[-1]

    yield make
    for verifier in made:
        verifier.close()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def run_script(code, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, **options
    )


# What it decides and remembers


def test_math_verify_decides_both_orders_alike():
    with Verifier() as verifier:
        pairs = [("\\sin(2 x)", "2 \\sin(x) \\cos(x)"), ("2 \\sin(x) \\cos(x)", "\\sin(2 x)")]
        assert verifier.same([*pairs, ("\\sin(x)", "\\cos(x)")]) == [True, True, False]
        assert verifier.stats()["equal"] == 1
        assert verifier.stats()["unequal"] == 1


def test_a_pair_is_asked_once(fake):
    verifier = fake()
    assert verifier.same([("aa", "bb"), ("bb", "aa")]) == [True, True]
    assert verifier.same([("aa", "bb")]) == [True]
    assert verifier.stats()["cached"] == 1
    assert verifier.stats()["equal"] == 1


def test_remembered_pairs_count_in_every_block_that_asks_them(fake):
    verifier = fake()
    for _ in range(2):
        with verifier.counting() as counted:
            verifier.same([("aa", "bb"), ("bb", "aa"), ("aa", "abc"), ("x", "x")])
        assert (counted["equal"], counted["unequal"]) == (1, 1)
        assert sum(counted.values()) == 2


def test_no_call_takes_longer_than_it_may_at_worst(fake):
    verifier = fake(start="time.sleep(60)", start_s=0.2, batch_s=1.0)
    begin = time.monotonic()
    verifier.same([(f"a{number}", "b") for number in range(100)])
    assert time.monotonic() - begin <= verifier.longest_s(101) + 20
    assert verifier.longest_s(101) == pytest.approx(3 * 0.2 + 2 * 1.0)


def test_values_that_lie_apart_spare_a_comparison(fake):
    values = {"aa": [[1.0, 0.0], [2.0, 1.0]], "bb": [[1.0, 0.0], [2.0, 1.0 + 1e-9]]}
    verifier = fake(values=values | {"cc": [[1.0, 0.0], [2.0, 1.1]]})
    # The fake worker would call all of them equal.
    assert verifier.same([("aa", "bb"), ("aa", "cc"), ("aa", "dd")]) == [True, False, True]


@pytest.mark.parametrize("values", ["x", 3, [], [[1.0]], [[1.0, "x"], [1.0, 2.0]], [[1, 2]] * 3])
def test_values_that_make_no_sense_are_none(fake, values):
    verifier = fake(values={"aa": values, "bb": [[9.0, 0.0], [9.0, 0.0]]})
    assert verifier.same([("aa", "bb")]) == [True]
    assert verifier.stats()["worker_losses"] == 0


def test_a_pair_that_was_never_tried_gets_another_chance(fake):
    verifier = fake(fault="once() and time.sleep(60)", answer_s=0.2, batch_s=1.0, patience_s=60)
    assert verifier.same([("bad", "x"), ("bad1", "abcd")]) == [False, False]
    assert verifier.stats()["deadline"] == 2
    assert verifier.same([("bad1", "abcd")]) == [True]


def test_identical_texts_need_no_worker(fake):
    verifier = fake()
    assert verifier.same([("a", "a")]) == [True]
    assert verifier.stats()["worker_starts"] == 0


def test_the_oldest_verdicts_are_forgotten(fake):
    verifier = fake(cache_size=2)
    verifier.same([("a", "b"), ("a", "c"), ("a", "d")])
    assert len(verifier.state_dict()["verdicts"]) == 2
    verifier.same([("a", "d"), ("a", "c")])
    assert verifier.stats()["cached"] == 2


def test_a_resumed_verifier_decides_alike_without_a_worker(fake):
    slow = fake(fault="time.sleep(60)", answer_s=0.1)
    assert slow.same([("bad", "abc"), ("aa", "bb")]) == [False, True]
    assert slow.stats()["timeout"] == 1
    state = json.loads(json.dumps(slow.state_dict()))

    resumed = fake()  # this worker would call the pair equal
    resumed.load_state_dict(state)
    assert resumed.same([("abc", "bad"), ("bb", "aa")]) == [False, True]
    assert resumed.stats()["worker_starts"] == slow.stats()["worker_starts"]
    assert resumed.state_dict()["verdicts"] == state["verdicts"]


@pytest.mark.parametrize(
    "text",
    [
        "x" * 257,
        "(" * 21 + "x" + ")" * 21,
        "\\frac{1}{" * 21 + "x" + "}" * 21,
        "7" * 65,
        "x^{12345}",
        "9^{9^{9}}",
        "9^9^9",
        "(9)^{(9)^{9}}",
        "2^{-10000000000}",
        "1234!",
        "((9!)!)",
        "\\binom{100000}{50000}",
        "\\binom{10^9}{3}",
        ",".join("1" * 70),
    ],
)
def test_absurd_answers_never_reach_the_worker(fake, text):
    verifier = fake()
    assert not worth_checking(text)
    assert verifier.same([(text, "x")]) == [False]
    assert verifier.stats()["refused"] == 1
    assert verifier.stats()["worker_starts"] == 0


@pytest.mark.parametrize(
    "text",
    ["\\sqrt{3 + 2\\sqrt{2}}", "2^{2023}", "x^{100}", "10!", "\\binom{100}{50}", "e^{x^{2}}"],
)
def test_honest_answers_may_reach_the_worker(text):
    assert worth_checking(text)


# Faults of the worker

FAULTS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "ends": "sys.exit()",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "silent": "time.sleep(60)",
    "garbage": "say('\\x00\\xff garbage\\n')",
    "another value": "say('[1, 2]\\n')",
    "no verdict": "say(json.dumps({'id': job['id']}) + '\\n')",
    "verdict of another job": "say(json.dumps({'id': job['id'] - 1, 'verdict': 'equal'}) + '\\n')",
    "verdict of another type": "say(json.dumps({'id': job['id'], 'verdict': 3}) + '\\n')",
    "two verdicts": "say(json.dumps({'id': job['id'], 'verdict': 'equal'}) + '\\n{}\\n')",
    "half a line": "say('{\"id\": 1, '); time.sleep(60)",
    "half a line, then dead": "say('{\"id\": 1, '); sys.exit()",
    "a line of 10 MB": "say('x' * 10_000_000 + '\\n')",
    "10 MB without an end": "say('x' * 10_000_000); time.sleep(60)",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_single_fault_changes_no_verdict(fake, fault):
    verifier = fake(fault=f"(once() and ({fault.replace('; ', ', ')}))", answer_s=0.2)
    assert verifier.same([("aa", "bb"), ("bad", "abc"), ("a", "bad")]) == [True, True, False]
    assert verifier.stats()["worker_losses"] == 1
    assert verifier.stats()["breaker_trips"] == 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_answer_that_costs_two_workers_is_given_up_alone(fake, fault):
    verifier = fake(fault=fault.replace("; ", "\n        "), answer_s=0.2)
    pairs = [("aa", "bb"), ("bad", "abc"), ("a", "bad"), ("cc", "dd"), ("a", "aa")]
    assert verifier.same(pairs) == [True, False, False, True, False]
    stats = verifier.stats()
    assert stats["timeout"] + stats["crash"] == 2
    assert stats["equal"] == 2
    assert stats["breaker_trips"] == 0


def test_a_worker_that_dies_at_start_leaves_canonical_forms_only_and_is_told_once(fake, caplog):
    verifier = fake(start="sys.exit()")
    assert verifier.same([("aa", "bb"), ("cc", "dd")]) == [False, False]
    assert verifier.stats()["skipped"] == 2
    assert verifier.stats()["breaker_trips"] == 1
    assert verifier.stats()["worker_starts"] == 3
    # Not remembered, and tried only once while it does not come back.
    assert verifier.same([("aa", "bb")]) == [False]
    assert verifier.stats()["worker_starts"] == 4
    (warning,) = [r for r in caplog.records if "does not start" in r.getMessage()]
    assert "serl/verifier/num_skipped" in warning.getMessage()


def test_a_worker_that_comes_back_is_used_again(fake, tmp_path):
    verifier = fake(start="if not os.path.exists(FLAG): sys.exit()")
    assert verifier.same([("aa", "bb")]) == [False]
    (tmp_path / "flag0").touch()
    assert verifier.same([("aa", "bb")]) == [True]


def test_a_worker_that_never_gets_ready_is_given_up(fake):
    verifier = fake(start="time.sleep(60)", start_s=0.1)
    begin = time.monotonic()
    assert verifier.same([("aa", "bb")]) == [False]
    assert time.monotonic() - begin < 50


def test_a_program_that_does_not_exist_is_a_worker_that_dies():
    verifier = Verifier(command=["/no/such/program"])
    assert verifier.same([("aa", "bb")]) == [False]
    assert verifier.stats()["skipped"] == 1


def test_workers_that_die_again_and_again_trip_the_breaker(fake):
    verifier = fake(fault="sys.exit()")
    pairs = [("aa", "bb")] + [(f"bad{number}", "x") for number in range(20)]
    assert verifier.same(pairs) == [True] + [False] * 20
    assert verifier.stats()["skipped"] > 10
    assert verifier.stats()["breaker_trips"] == 1
    assert verifier.stats()["worker_losses"] <= 8
    assert verifier.same([("cc", "dd")]) == [True]


def test_a_batch_ends_within_its_deadline(fake):
    verifier = fake(fault="time.sleep(60)", answer_s=0.2, batch_s=3.0)
    pairs = [("aa", "bb")] + [(f"bad{number}", f"{number}") for number in range(30)]
    verifier.same([("zz", "yy")])
    begin = time.monotonic()
    verifier.same(pairs)
    # Each pair would sleep for a minute; how fast this machine is, is not the question.
    assert time.monotonic() - begin < 50


def test_a_line_without_an_end_is_not_read_to_its_end(fake):
    verifier = fake(fault="say('x' * 10_000_000), time.sleep(60)", patience_s=60)
    begin = time.monotonic()
    assert verifier.same([("bad", "abc")]) == [False]
    assert verifier.stats()["crash"] == 1
    assert time.monotonic() - begin < 50


def test_cheap_pairs_come_before_expensive_ones(fake):
    verifier = fake(fault="time.sleep(60)", patience_s=60, batch_s=1.0)
    assert verifier.same([("a long bad one", "x"), ("yy", "zz")]) == [False, True]
    assert (verifier.stats()["deadline"], verifier.stats()["equal"]) == (1, 1)


@pytest.mark.parametrize("op", ["probe", "same"])
def test_a_pair_that_was_cut_off_once_is_a_timeout_whatever_comes_after(fake, op):
    lines = (
        "if 'hang' in line: time.sleep(60)",
        f"if job['op'] == {op!r}: verdict = 'timeout'",
    )
    fault = "\n        ".join(lines)
    verifier = fake(fault=fault, patience_s=60, batch_s=1.0)
    verifier.same([("bad", "x"), ("a long bad one to hang", "y")])
    assert (verifier.stats()["timeout"], verifier.stats()["deadline"]) == (1, 1)


def test_a_swollen_worker_is_replaced_without_a_loss(fake):
    leaving = "say(json.dumps({'id': job['id'], 'verdict': 'memory', 'leaving': True}) + '\\n')"
    verifier = fake(fault=f"{leaving}\n        break")
    assert verifier.same([("bad", "abc"), ("aa", "bb")]) == [False, True]
    assert verifier.same([("cc", "dd")]) == [True]
    assert verifier.stats()["memory"] == 1
    assert verifier.stats()["worker_losses"] == 0
    assert verifier.stats()["worker_starts"] == 2


def test_a_big_parent_does_not_make_its_worker_look_swollen():
    ballast = b"x" * (600 * 2**20)
    with Verifier() as verifier:
        assert verifier.same([("\\sqrt{8}", "2\\sqrt{2}")]) == [True]
        assert verifier.same([("\\sqrt{18}", "3\\sqrt{2}")]) == [True]
        assert verifier.stats()["worker_starts"] == 1
    assert len(ballast) > 0


# What it leaves behind, and what it leaves alone


def test_closing_ends_the_worker_and_what_it_started(fake, tmp_path):
    child = tmp_path / "child"
    start = (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(child.pid))"
    )
    verifier = fake(start=start)
    verifier.same([("aa", "bb")])
    worker = verifier._slot.worker.process.pid
    pid = int(child.read_text())
    verifier.close()
    wait_until(lambda: not is_running(worker) and not is_running(pid))
    assert verifier.same([("cc", "dd")]) == [True], "a closed verifier may be used again"


def test_a_forgotten_verifier_ends_its_worker(fake):
    verifier = Verifier()
    verifier.same([("\\sin(x)", "\\cos(x)")])
    worker = verifier._slot.worker.process.pid
    del verifier
    wait_until(lambda: not is_running(worker))


SCRIPT = """
    import sys, time
    from serl_trl.answers.verifier import Verifier
    verifier = Verifier(answer_s=1000, batch_s=1000)  # a busy worker would go on for long
    verifier.same([("\\\\sin(x)", "\\\\cos(x)")])
    print(verifier._slot.worker.process.pid, flush=True)
    ENDING
"""


@pytest.mark.parametrize(
    "busy",
    ["time.sleep(60)", "verifier.same([('\\\\int \\\\frac{\\\\sin(x^2)}{x^5+x+1} dx', 'x')])"],
)
def test_no_worker_survives_a_killed_parent(busy):
    code = textwrap.dedent(SCRIPT).replace("ENDING", busy)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    assert is_running(worker)
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_running(worker), seconds=5)


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_no_worker_survives_the_interpreter(ending):
    done = run_script(SCRIPT.replace("ENDING", ending))
    wait_until(lambda: not is_running(int(done.stdout)))


def test_a_forked_child_leaves_the_workers_of_its_parent_alone():
    code = """
        import os
        from serl_trl.answers.verifier import Verifier
        verifier = Verifier()
        pair = ("\\\\sin(2 x)", "2 \\\\sin(x) \\\\cos(x)")
        verifier.same([("\\\\sin(x)", "x")])
        worker = verifier._slot.worker.process.pid
        child = os.fork()
        if child == 0:
            verifier.same([pair])
            assert verifier._slot.worker.process.pid != worker
            assert verifier.stats()["worker_losses"] == 0
            raise SystemExit(0)
        assert os.waitpid(child, 0)[1] == 0
        verifier.same([pair])
        assert verifier._slot.worker.process.pid == worker
        assert verifier.stats()["worker_losses"] == 0
    """
    done = run_script(code)
    assert done.returncode == 0, done.stderr


def test_the_worker_inherits_no_secret(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    seen = tmp_path / "environment"
    verifier = fake(start=f"open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))")
    verifier.same([("aa", "bb")])
    environment = json.loads(seen.read_text())
    assert "hf_canary" not in environment.values()
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("event", ["socket.connect", "subprocess.Popen", "os.system", "os.exec"])
def test_the_worker_reaches_neither_network_nor_programs(event):
    with pytest.raises(PermissionError, match=event):
        refuse_access(event, ())
    refuse_access("import", ())


def test_this_process_keeps_its_signals_threads_and_modules():
    code = """
        import signal, sys, threading
        before = [signal.getsignal(number) for number in sorted(signal.valid_signals() - {9, 19})]
        from serl_trl.answers.equality import same_answer
        assert same_answer("\\\\sin 2x", "2\\\\sin x\\\\cos x")
        after = [signal.getsignal(number) for number in sorted(signal.valid_signals() - {9, 19})]
        assert before == after
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert threading.active_count() == 1
        heavy = {"torch", "trl", "transformers", "sympy", "math_verify", "mpmath"}
        assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
    """
    done = run_script(code)
    assert done.returncode == 0, done.stderr


def test_it_works_from_any_thread(fake):
    verifier = Verifier()
    results = []

    def ask(name):
        results.append(verifier.same([(f"\\sin({name})", f"\\cos({name})")]))

    for names in ("abc", "xyz"):  # the second three find a worker whose starter is gone
        threads = [threading.Thread(target=ask, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [[False]] * 6
    assert verifier.stats()["worker_starts"] == 1
    verifier.close()


def test_a_worker_without_a_parent_ends(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "serl_trl.answers.worker", "1", "1024", "1"],
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout == b""
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
