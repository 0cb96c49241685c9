"""Groups with two views: half of the completions answer the instruction in other words."""

from collections.abc import Sequence

from serl_trl.common.completion import Completion, Messages
from serl_trl.labels.base import Restating, first_view
from serl_trl.loop.seams import Policy
from serl_trl.propose.sources.base import Task


def second_prompts(
    policy: Policy,
    tasks: Sequence[Task],
    prompts: Sequence[Messages],
    *,
    text: str,
    restating: Restating,
) -> list[Messages | None]:
    """Have the policy restate each instruction, asked by `text`, and return the prompts.

    `None`: no restatement keeps what it must keep, so the group has one view.
    """
    # Imported late: what a restatement must keep takes a while to compile.
    from serl_trl.filters.validity.restatement import restated_prompts

    instructions = [task.instruction for task in tasks]
    return restated_prompts(
        list(zip(instructions, prompts, strict=True)),
        policy.complete,
        text=text,
        tries=restating.tries,
        keep_names=restating.keep_names,
    )


def roll_out(
    policy: Policy, prompts: Sequence[Messages], views: Sequence[Messages | None], num: int
) -> list[list[Completion]]:
    """Complete each prompt `num` times, or each half of these by one of its two prompts."""
    if not any(views):
        return policy.roll_out(prompts)
    first = first_view(num)
    flat = [
        each
        for prompt, view in zip(prompts, views, strict=True)
        for each in [prompt] * first + [view or prompt] * (num - first)
    ]
    found = policy.complete(flat)
    return [found[start : start + num] for start in range(0, len(found), num)]
