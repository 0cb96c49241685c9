"""The vote as a reward function for TRL's own trainers."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from serl_trl.answers.equality import AnswerKind, extract_answer, get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote, vote_groups
from serl_trl.common.plugin import Plugin, Role, find

# One completion as it travels between processes: a digest of its prompt, and its answer.
_Entry = tuple[str, str | None]


class MajorityVoteReward:
    """Reward 1.0 for completions whose answer is their group's majority answer, else 0.0.

    ```python
    reward = MajorityVoteReward(num_generations=16, eos_token_id=tokenizer.eos_token_id)
    trainer = GRPOTrainer(model, reward_funcs=reward, args=args, train_dataset=dataset)
    ```

    Works on several processes: all answers are gathered, and the first process votes for all.
    Logs `vote/majority_ratio`, `vote/unparsable_ratio` and `vote/tied_ratio`.
    """

    def __init__(
        self,
        *,
        num_generations: int | None = None,
        kind: str | AnswerKind = "math",
        eos_token_id: int | Collection[int] | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        """Take the group size and the kind of answer; see `serl_trl.answers.get_kind`.

        Without `num_generations`, equal prompts in a row are a group; give it when a prompt may
        come twice in a row. Without `eos_token_id`, completions that were cut off may vote.
        Without `verifier`, the reward makes and owns one.
        """
        if num_generations is not None and num_generations < 2:
            raise ValueError(
                f"num_generations={num_generations} leaves nothing to vote on; use 2+."
            )
        self.__name__ = "majority_vote"  # TRL logs the reward under this name
        self.num_generations = num_generations
        self.kind = get_kind(kind)
        # Owned, so that one worker serves all steps.
        self._verifier = verifier or Verifier()
        self.eos_token_ids = (
            {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id or ())
        )

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float]:
        """Return the rewards of this process's completions.

        Raises `ValueError`, on every process alike, when the completions are not whole groups.
        """
        ids = completion_ids or [()] * len(completions)
        own = [
            (_digest(prompt), self._answer(completion, tokens))
            for prompt, completion, tokens in zip(prompts, completions, ids, strict=True)
        ]
        slices, rank = _gather(own)
        entries = [entry for part in slices for entry in part]
        groups = self._split(entries)
        votes: list[Vote] = []
        if rank == 0:
            votes = vote_groups(groups, kind=self.kind, verifier=self._verifier)
        votes = _broadcast(votes)
        if log_metric is not None and votes:
            for name, value in _summary(votes, len(entries)).items():
                log_metric(name, value)
        rewards = [reward for vote in votes for reward in vote.rewards]
        # Slices need not be of one length.
        start = sum(len(part) for part in slices[:rank])
        return rewards[start : start + len(own)]

    def _answer(self, completion: Any, tokens: Sequence[int]) -> str | None:
        if self.eos_token_ids and (not tokens or tokens[-1] not in self.eos_token_ids):
            return None
        if not isinstance(completion, str):  # a conversation: its last message is the completion
            completion = completion[-1]["content"] if completion else ""
        return extract_answer(completion if isinstance(completion, str) else "", kind=self.kind)

    def _split(self, entries: Sequence[_Entry]) -> list[list[str | None]]:
        """Cut the completions of all processes into groups of one prompt each."""
        groups: list[list[str | None]] = []
        # No digest is empty, so the first completion begins a group.
        before = ""
        for position, (prompt, answer) in enumerate(entries):
            if self.num_generations is None:
                starts = prompt != before
            else:
                starts = position % self.num_generations == 0
                if not starts and prompt != before:
                    raise ValueError(
                        f"completion {position} has another prompt than the rest of its group of "
                        f"num_generations={self.num_generations}; give the trainer's own value, "
                        "and leave it out when evaluation uses another."
                    )
            if starts:
                groups.append([])
            groups[-1].append(answer)
            before = prompt
        if self.num_generations and len(entries) % self.num_generations:
            raise ValueError(
                f"{len(entries)} completions are not whole groups of num_generations="
                f"{self.num_generations}; give the trainer's own value."
            )
        return groups


def find_reward(
    text: str, plugins: Collection[str] = (), *, known: Mapping[str, Any] | None = None
) -> Plugin:
    """Return a reward function by its name in `known`, or a dotted path in a package of `plugins`.

    Raises `ValueError` when there is none.
    """
    role = Role(
        option="reward_funcs",
        takes="a reward function as TRL calls it, with **kwargs",
        known=known or {},
        keywords=("prompts", "completions", "completion_ids", "trainer_state"),
        returns=(list, tuple),
    )
    return find(text, role, plugins)


def _digest(prompt: Any) -> str:
    # Prompts may be long conversations; only whether they are the same matters.
    return hashlib.blake2b(
        repr(prompt).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()


def _gather(own: list[_Entry]) -> tuple[list[list[_Entry]], int]:
    """The entries of every process, in the order of their ranks, and the own rank."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    if state.num_processes == 1:
        return [own], 0
    return gather_object([own]), state.process_index


def _broadcast(votes: list[Vote]) -> list[Vote]:
    """The first process's votes, on every process."""
    from accelerate.utils import broadcast_object_list

    # Whether a pair times out may differ from process to process; the label must not.
    (shared,) = broadcast_object_list([votes])
    return shared


def _summary(votes: Sequence[Vote], num_completions: int) -> dict[str, float]:
    return {
        "vote/majority_ratio": sum(vote.majority_ratio for vote in votes) / len(votes),
        "vote/unparsable_ratio": sum(vote.num_unparsable for vote in votes) / num_completions,
        "vote/tied_ratio": sum(vote.tied for vote in votes) / len(votes),
    }
