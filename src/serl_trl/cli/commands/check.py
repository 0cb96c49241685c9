"""`serl check`: every check of a config without loading weights, and what the config means.

It takes about two seconds. Half of them import torch and a quarter TRL's options, which cannot be
listed, converted or checked otherwise: their class inherits from one that transformers fills in
from torch.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Console

from serl_trl.cli.inputs import Inputs, load_inputs
from serl_trl.cli.judged import Judged, judge_data
from serl_trl.cli.parser import Arguments, SeRLParser
from serl_trl.common.console import OK, label_of, say, write_json
from serl_trl.common.processes import num_processes
from serl_trl.common.text import count_of, visible
from serl_trl.labels.band import reachable_votes
from serl_trl.propose.sources.base import LABELLED, UNLABELLED
from serl_trl.propose.sources.registry import needed_sets


def run(argv: Sequence[str], out: Console) -> int:
    """Check, and print what the config means."""
    args = SeRLParser(prog="serl check").parse(argv, here=False)
    inputs = load_inputs(args, looking=True)
    judged = judge_data(args, inputs.seed_set.instructions if inputs.seed_set else ())
    report = describe_run(args, inputs, judged)
    options = {*vars(args.run), *vars(args.config), *vars(args.model)}
    shown = dict(report)
    if "noise_in_band" in report:
        shown["noise_in_band"] = (
            f"{report['noise_in_band']:.1%} of groups of random votes, if all can be read"
        )
    for name, value in shown.items():
        lines = (value or ["none"]) if isinstance(value, list) else [str(value)]
        for label, line in zip_longest([label_of(name, options)], lines, fillvalue=""):
            say(out, f"{label:<28}  {visible(line)}")
    found = f"nothing wrong was found, {count_of(len(inputs.skipped), 'thing')} not looked at"
    out.print(found if inputs.skipped else "nothing wrong was found", style="green")
    if judged.to_change:
        out.print("but it may learn little, see `to change`", style="yellow")
    if args.machine:
        out.print("but this machine cannot run it, see `missing here`", style="yellow")
    write_json(args.run.json, report)
    return OK


def describe_run(args: Arguments, inputs: Inputs, judged: Judged) -> dict[str, Any]:
    """Return what a checked config means: sizes, lengths, what is not applied, what was skipped.

    What stands for an option has the option's name.
    """
    config = args.config
    return {
        "model_name_or_path": args.model.model_name_or_path,
        **_sets(inputs),
        "num_processes": num_processes(),
        "num_generations": config.num_generations,
        "prompts_per_generation_batch": config.prompts_per_batch,
        "rollouts_per_step": config.per_device_train_batch_size
        * num_processes()
        * config.gradient_accumulation_steps,
        "steps_per_iteration": config.steps_per_iteration,
        "num_selfplay_iterations": config.num_selfplay_iterations,
        "max_steps": config.max_steps,
        "kept_majority_ratios": _kept_ratios(args),
        **({} if judged.noise is None else {"noise_in_band": judged.noise}),
        "seeds_refused": list(judged.refused),
        "to_change": list(judged.to_change),
        **_lengths(args, inputs),
        "not_applied": _not_applied(args),
        "missing_here": list(args.machine),
        "skipped": list(inputs.skipped),
        "warnings": [
            *(
                text
                for each in (inputs.seed_set, *inputs.row_sets.values(), inputs.probe_set)
                if each
                for text in each.warnings
            ),
            *inputs.notes,
        ],
    }


def _not_applied(args: Arguments) -> list[str]:
    config = args.config
    needed = needed_sets(config.sources)
    unread = [
        name
        for name in (LABELLED, UNLABELLED)
        if getattr(args.run, name) and needed is not None and name not in needed
    ]
    return [
        *(f"{each}: {why}" for each, why in config.not_applied.items()),
        *(f"filter {name}: {why}" for name, why in config.filters_aside.items()),
        *(f"{name}: none of sources reads it" for name in unread),
    ]


def _sets(inputs: Inputs) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if seeds := inputs.seed_set:
        known = sum(answer is not None for answer in seeds.answers)
        found["num_seeds"] = len(seeds)
        found["seed_set"] = f"{seeds.source}, {known} with answers"
        found["seed_set_fingerprint"] = seeds.fingerprint
    for name, rows in inputs.row_sets.items():
        known = sum(answer is not None for answer in rows.answers)
        found[name] = f"{rows.source}, {count_of(len(rows), 'row')}, {known} with answers"
    if inputs.probe_set:
        found["num_probe_problems"] = len(inputs.probe_set)
    if inputs.evaluation_sets:
        found["kept_out_of_training"] = [
            f"{name}, {count_of(len(read), 'problem')}"
            for name, read in inputs.evaluation_sets.items()
        ]
    return found


def _lengths(args: Arguments, inputs: Inputs) -> dict[str, int]:
    found = {} if inputs.context is None else {"model_context_tokens": inputs.context}
    if longest := inputs.longest:
        found["longest_seed_tokens"] = longest.seed
        found["longest_prompt_tokens"] = longest.prompt
        found["max_completion_length"] = args.config.max_completion_length
        found["longest_request_tokens"] = longest.request
        found["proposer_max_tokens"] = args.config.proposer_max_tokens
    return found


def _kept_ratios(args: Arguments) -> str:
    config = args.config
    if not config.use_selfplay or not config.use_band:
        return "all"
    votes = config.num_generations
    inside = reachable_votes(votes, low=config.band.low, high=config.band.high)
    return f"{inside[0]}/{votes} to {inside[-1]}/{votes}" if inside else "none"
