"""What is wrong with the values of a config, found before anything is built from them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from serl_trl.common.options import Bounds
from serl_trl.common.plugin import is_path, package_problems, shown, split_list
from serl_trl.common.problem import Problem, unknown_choice
from serl_trl.common.secrets import is_secret, secret_in
from serl_trl.filters.validity.choice import read_choice
from serl_trl.labels.band import reachable_votes
from serl_trl.labels.chance import ends_of
from serl_trl.labels.registry import find_labeller, known_labeller, known_needs
from serl_trl.propose.languages import CODE
from serl_trl.propose.prompts import PLACEHOLDER, PromptStyle
from serl_trl.propose.sources.registry import find_sources, named_sources, rewards_by_gold
from serl_trl.train.beside import teacher_of_run, teacher_problems
from serl_trl.train.ranges import BOUNDS, CHOICES

# With them transformers returns more completions than rows, or something else than tokens.
_ONE_COMPLETION = ("num_return_sequences", "return_dict_in_generate", "n", "best_of")
# All controls but tab and line feed, which prompts may hold.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# A name in one or more braces, but not LaTeX: "\\boxed{answer}" is the form of an answer.
_PLACEHOLDER = re.compile(r"(?P<latex>\\[A-Za-z]+|[_^])?(?P<name>\{+\s*[A-Za-z_]\w*\s*\}+)")
# A tokenizer's marks are no secrets.
_MARK = re.compile("(bos|eos|pad|unk|sep|cls|mask|image|video|audio)_token")


def find_problems(values: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with single values and their combinations; empty when a run may start.

    Works on raw values, before anything is built from them, so that all problems are named at once.
    """
    # A mapping may still be JSON: what is inside it is looked at for secrets and seeds too.
    values = {name: _parsed(value) for name, value in values.items()}
    problems = [
        Problem(
            name,
            rule=f"holds {what}, and options are saved with the run",
            way_out="log in with `hf auth login`, or set a variable such as HF_TOKEN in the shell",
        )
        for name, value in values.items()
        if name != "hub_token" and (what := _secret_in(value))
    ]
    problems += out_of_range(values, BOUNDS)
    problems += [
        unknown_choice(name, values[name], choices)
        for name, choices in CHOICES.items()
        if values.get(name) is not None and values[name] not in choices
    ]
    problems += package_problems(values.get("plugins") or ())
    # Combinations come last, so that a value that is bad by itself is named before what it spoils.
    for check in (_names, _texts, _template, _band, _pairs, _rewards, _generation, _hub):
        problems += check(values)
    return problems


def out_of_range(values: Mapping[str, Any], ranges: Mapping[str, Bounds]) -> Iterator[Problem]:
    """Yield the numbers outside their range; NaN is outside of each."""
    for name, bounds in ranges.items():
        value = values.get(name)
        # Of another type, the value was named already by whoever converted it.
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        # Written so that NaN, which compares as false, is outside too.
        if not bounds.low <= value <= bounds.high:
            yield Problem(name, value, f"must be {bounds.words}", bounds.usual)


def _names(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield an unknown labeller, source or gate; a dotted path is looked up when a run is built."""
    looks = {
        "label_reward": _look_for_labeller,
        "sources": _look_for_sources,
        "validity": _look_for_signals,
    }
    for option, look in looks.items():
        try:
            if values.get(option) is not None:
                look(values[option])
        except (ValueError, TypeError) as error:
            yield Problem("", rule=str(error), others=(option,))


def _look_for_labeller(named: Any) -> None:
    # One of this package is made, too: it refuses values of its options that have no meaning.
    if not is_path(str(named)):
        find_labeller(str(named)).make()


def _look_for_sources(named: Any) -> None:
    # Made, too, as a labeller is; a plug-in's class is looked up when a run is built.
    if not any(is_path(text) for text, _ in named_sources(named)):
        for share in find_sources(named):
            share.source.make()


def _look_for_signals(named: Any) -> None:
    # A plug-in's class is looked up when a run is built.
    if not any(map(is_path, split_list(str(named)))):
        read_choice(named)


def _texts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield prompt texts with a control character: "\\b" of YAML's double quotes."""
    for name in (item.name for item in fields(PromptStyle)):
        text = values.get(name)
        if isinstance(text, str) and (found := _CONTROL.search(text)):
            rule = f"holds the control character {found.group()!r}"
            way_out = "between double quotes of YAML a backslash is written twice, between single "
            yield Problem(name, rule=rule, way_out=f"{way_out}quotes once")
    language = values.get("language")
    if isinstance(language, str) and not CODE.fullmatch(language):
        rule = "is not the code of a language"
        yield Problem("language", shown(language), rule, "write en, de, fr, pt-BR or another code")


def _template(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield why `task_template` cannot hold a text, or what in it would never be filled in."""
    template = values.get("task_template")
    if not template or not isinstance(template, str):
        return
    found = [match for match in _PLACEHOLDER.finditer(template) if not match["latex"]]
    if others := [match["name"] for match in found if match["name"] != PLACEHOLDER]:
        rule = f"holds the placeholder {others[0]}, and only {PLACEHOLDER} is filled in"
        yield Problem("task_template", rule=rule, way_out="write out what it stands for")
    elif (times := template.count(PLACEHOLDER)) != 1:
        rule = f"must hold {PLACEHOLDER} exactly once, and holds it {times} times"
        yield Problem("task_template", rule=rule, way_out="put it where each text is to stand")


def _band(values: Mapping[str, Any]) -> Iterator[Problem]:
    votes = values.get("num_generations")
    bounds = BOUNDS["num_generations"]
    # Of another type or out of range it is named already, and the ends by chance depend on it.
    if not isinstance(votes, int) or not bounds.low <= votes <= bounds.high:
        return
    ends = ends_of(values)
    low, high = ends.low, ends.high
    # Equal ends would keep a single ratio, which hardly any group has.
    if low >= high:
        yield Problem(
            "difficulty_low",
            low,
            f"must be below difficulty_high={high}",
            "the paper uses 0.2 and 0.8",
            others=("difficulty_high",),
        )
        return
    if values.get("use_band", True) and not reachable_votes(votes, low=low, high=high):
        reachable = ", ".join(f"{k}/{votes}" for k in reachable_votes(votes, low=0, high=1))
        yield Problem(
            "difficulty_low",
            low,
            f"and difficulty_high={high} keep no group: with num_generations={votes} a majority "
            f"ratio is one of {reachable}",
            "widen the band",
            others=("difficulty_high", "num_generations"),
        )


def _pairs(values: Mapping[str, Any]) -> Iterator[Problem]:
    for name, bound in (("num_pool_shots", "num_shots"), ("min_words", "max_words")):
        value, most = values.get(name), values.get(bound)
        if value is not None and most is not None and value > most:
            yield Problem(name, value, f"must not exceed {bound}={most}", others=(bound,))
    most, votes = values.get("max_rollouts"), values.get("num_generations")
    if (pilot := values.get("pilot_votes")) and votes and pilot >= votes:
        yield Problem(
            "pilot_votes",
            pilot,
            f"must be below num_generations={votes}",
            "lower it, or set it to 0 to give every group all its votes",
            others=("num_generations",),
        )
    if most and votes and most < votes:
        yield Problem(
            "max_rollouts",
            most,
            f"is less than one group of num_generations={votes}",
            "raise it, or set it to 0 for no bound",
            others=("num_generations",),
        )


def _rewards(values: Mapping[str, Any]) -> Iterator[Problem]:
    name = "multi_objective_aggregation"
    # reinforce_pp normalises the sum itself, over the whole batch.
    normalised_later = values.get("advantage") == "reinforce_pp"
    if normalised_later and values.get(name) not in (None, "sum_then_normalize"):
        yield Problem(name, rule="must be sum_then_normalize with reinforce_pp")
    label = values.get("label_reward")
    # Such a label is made of groups, which only self-play hands over.
    of_groups = known_labeller(label).rewards and "gold" not in known_needs(label)
    if values.get("use_selfplay") is False and label and of_groups:
        rule, way_out = "needs use_selfplay", "set label_reward to gold or none"
        yield Problem("label_reward", label, rule, way_out)
    if rewards_by_gold(values.get("sources")) and not known_labeller(label).rewards:
        rule = "rewards no labels, and one of sources takes its rewards from gold answers"
        way_out = "use another label_reward, or leave that source out"
        yield Problem("label_reward", label, rule, way_out, others=("sources",))
    yield from teacher_problems(teacher_of_run(values), values)
    # TRL hands its own completions to the loss, in which no answer has been looked for.
    if values.get("use_selfplay") is False and values.get("mask_answer"):
        yield Problem("mask_answer", "true", "needs use_selfplay", "leave it out")


def _generation(values: Mapping[str, Any]) -> Iterator[Problem]:
    kwargs = values.get("generation_kwargs")
    kwargs = kwargs if isinstance(kwargs, Mapping) else {}
    for name in _ONE_COMPLETION:
        if kwargs.get(name) not in (None, False, 1):
            rule = (
                f": {name}={kwargs[name]} is refused: a prompt gets one completion at a time, as "
            )
            rule += "bare tokens; num_generations says how many vote"
            yield Problem("generation_kwargs", rule=rule, way_out="Leave it out")
    mode = values.get("vllm_mode")
    # The engine draws each completion of a prompt with the same seed.
    if values.get("use_vllm") and "seed" in kwargs:
        yield Problem(
            "generation_kwargs",
            "{seed: ...}",
            f"with vllm_mode={mode} makes all completions of a prompt alike, so that no vote can "
            "differ",
            "leave the seed out",
            others=("vllm_mode",),
        )
    parts = values.get("vllm_tensor_parallel_size")
    colocated = values.get("use_vllm") and mode == "colocate"
    if colocated and isinstance(parts, int) and parts > 1:
        yield Problem(
            "vllm_tensor_parallel_size",
            parts,
            "with vllm_mode=colocate is refused: the processes of one engine must draw the same "
            "tokens, and training gives each its own random state",
            "leave it at 1, or use vllm_mode: server",
            others=("vllm_mode",),
        )


def _hub(values: Mapping[str, Any]) -> Iterator[Problem]:
    strategy = values.get("hub_strategy", "end")
    # transformers makes a member of an enum of it, depending on when we are asked.
    strategy = getattr(strategy, "value", strategy)
    if strategy != "end":
        rule = "must be end; checkpoints hold what is not meant for others. `serl push RUN` pushes "
        yield Problem("hub_strategy", strategy, f"{rule}at any time")
    # Not repeated in the message, and masked where the config is written.
    if values.get("hub_token"):
        rule = "must not stand in a config, which is saved with the run"
        way_out = "log in with `hf auth login` or set HF_TOKEN"
        yield Problem("hub_token", rule=rule, way_out=way_out)


def _parsed(value: Any) -> Any:
    """Read the JSON of a mapping; other texts stay as they are."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _secret_in(value: Any) -> str:
    """Return what is secret in a value, at any depth, without repeating it; or nothing."""
    if isinstance(value, str):
        return "a token, or an address with a password" if secret_in(value) else ""
    if isinstance(value, Mapping):
        named = (f"a secret ({key})" for key, item in value.items() if _is_secret_item(key, item))
        inside = (_secret_in(each) for pair in value.items() for each in pair)
        return next(filter(None, (*inside, *named)), "")
    if isinstance(value, list | tuple | set):
        return next(filter(None, map(_secret_in, value)), "")
    return ""


def _is_secret_item(key: Any, item: Any) -> bool:
    # `token: true` means the login of the machine.
    return isinstance(item, str) and is_secret(str(key)) and not _MARK.fullmatch(str(key))
