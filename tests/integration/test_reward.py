"""`MajorityVoteReward`: alone, in TRL's own GRPO trainer, and on two processes."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from serl_trl.labels.trl_reward import MajorityVoteReward
from tests.integration.processes import HANG_S


def boxed(*answers):
    return [f"so \\boxed{{{answer}}}" for answer in answers]


def test_members_of_the_majority_are_rewarded():
    reward = MajorityVoteReward(num_generations=4)
    completions = boxed("1/2", "0.5", "3", "0.50") + boxed("1", "1", "2") + ["1"]
    assert reward(["p"] * 4 + ["q"] * 4, completions) == [1, 1, 0, 1, 1, 1, 0, 0]


def test_equal_prompts_in_a_row_are_a_group():
    reward = MajorityVoteReward()
    assert reward(["p", "p", "q", "q", "q"], boxed(1, 1, 2, 3, 3)) == [1, 1, 0, 1, 1]


def test_completions_that_were_cut_off_have_no_vote():
    reward = MajorityVoteReward(num_generations=3, eos_token_id=2)
    ids = [[5, 2], [5, 5], [5, 2]]
    assert reward(["p"] * 3, boxed(7, 7, 7), completion_ids=ids) == [1, 0, 1]
    both = MajorityVoteReward(num_generations=3, eos_token_id=[2, 3])
    assert both(["p"] * 3, boxed(7, 7, 7), completion_ids=[[2], [3], []]) == [1, 1, 0]


def test_conversations_are_read_by_their_last_message():
    reward = MajorityVoteReward()
    prompt = [{"role": "user", "content": "What?"}]
    completions = [[{"role": "assistant", "content": text}] for text in boxed(4, 4, 5)]
    assert reward([prompt] * 3, completions) == [1, 1, 0]
    assert reward([prompt] * 2, [[], [{"role": "assistant", "content": None}]]) == [0, 0]


def test_other_kinds_of_answers_are_open_to_it():
    reward = MajorityVoteReward(kind="choice")
    assert reward(["p"] * 3, ["Answer: B", "Answer: (b)", "Answer: C"]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [(["p"] * 3 + ["q"], "completion 3 has another prompt"), (["p"] * 6, "not whole groups")],
)
def test_completions_that_are_no_whole_groups_are_refused(prompts, message):
    with pytest.raises(ValueError, match=message):
        MajorityVoteReward(num_generations=4)(prompts, boxed(*range(len(prompts))))


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match="num_generations=1"):
        MajorityVoteReward(num_generations=1)


def test_it_logs_what_the_vote_was_like():
    logged = {}
    reward = MajorityVoteReward()
    reward(
        ["p"] * 4 + ["q"] * 2,
        [*boxed(1, 1, 2), "none", *boxed(1, 2)],
        log_metric=logged.__setitem__,
    )
    assert logged == {
        "vote/majority_ratio": 0.5,
        "vote/unparsable_ratio": 1 / 6,
        "vote/tied_ratio": 0.5,
    }


def test_trl_trains_on_it(tiny_model, tmp_path):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    asked = []

    class Spy(MajorityVoteReward):
        def _answer(self, completion, tokens):
            asked.append(completion)
            return "7" if len(asked) % 4 else "8"  # a random model boxes nothing

    args = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=4,
        max_steps=1,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        bf16=False,
        save_strategy="no",
    )
    dataset = Dataset.from_dict({"prompt": ["1 + 1", "2 + 2", "3 + 3", "4 + 4"]})
    trainer = GRPOTrainer(
        tiny_model, reward_funcs=Spy(num_generations=4), args=args, train_dataset=dataset
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    assert len(asked) == 4
    assert logged["rewards/majority_vote/mean"] == 0.75
    assert logged["vote/majority_ratio"] == 0.75


TWO = """
    import json, sys
    from accelerate import PartialState
    from serl_trl.common.processes import leave_process_group
    from serl_trl.labels.trl_reward import MajorityVoteReward

    state = PartialState(cpu=True)
    rank = state.process_index
    reward = MajorityVoteReward(num_generations=4)
    prompts = ["p"] * 4 + ["q"] * 4 + ["r"] * 4
    answers = [1, 2, 2, 2, 5, 5, 6, 5, 7, 8, 9, 9]
    half = slice(6 * rank, 6 * rank + 6)
    completions = [f"\\\\boxed{{{answer}}}" for answer in answers]
    rewards = reward(prompts[half], completions[half])
    try:
        reward(prompts[half], completions[half][:5] + ["x"]) and reward(["p"] * 5, completions[:5])
    except ValueError as error:
        refusal = str(error)
    open(sys.argv[1] + f"/{rank}.json", "w").write(json.dumps([rewards, refusal]))
    leave_process_group()
"""


def test_groups_that_straddle_processes_are_voted_on_as_a_whole(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(TWO), str(tmp_path)],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, errors[-2000:]
    (first, refused), (second, refused_too) = (
        json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)
    )
    # The middle group is cut in two; one slice alone would see a tie of 5 and 6 on the second rank.
    assert first + second == [0, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1]
    assert refused == refused_too
    assert "not whole groups" in refused
