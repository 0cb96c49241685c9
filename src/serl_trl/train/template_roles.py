"""What a model's chat template makes of our conversations, found by rendering one, and mended."""

from collections.abc import Callable, Mapping
from typing import Any

from serl_trl.common.completion import Messages
from serl_trl.train.swaps import replaced

# Chat template of prompt_style=completion: the texts of the messages, one under the other.
COMPLETION_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
)

# Put before a template that knows no system message. Stands on one line, and ends in an output that
# is empty, because the template behind it may begin with a blank that it wants to keep.
_FOLD = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- if messages | length > 1 and messages[1]['role'] == 'user' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n\\n' + "
    "messages[1]['content']}] + messages[2:] -%}"
    "{%- else -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content']}] + messages[1:] -%}"
    "{%- endif -%}"
    "{%- endif -%}{{- '' }}"
)
# A text that no template writes by itself.
_MARK = "Say what 7041 is."
_USER: Messages = [{"role": "user", "content": "What is 1 + 1?"}]

Render = Callable[[Messages], str]
"""Writes one conversation as the tokenizer's template does; raises where that cannot be done."""


def prepare_template(tokenizer: Any, render: Render) -> list[str]:
    """Give `tokenizer` a template that shows every system message; return what differs.

    Templates without a system role (Gemma 2, older Mistral) raise at one, or drop it in silence.
    Theirs is written before the first user message.

    Raises whatever `render` raises for a conversation without a system message.
    """
    system = {"role": "system", "content": _MARK}
    try:
        kept = _MARK in render([system, *_USER])
    except Exception:  # noqa: BLE001 - a template may raise what it likes
        # A template that fails for every conversation raises again below.
        kept = False
    if not kept:
        render(_USER)
        _set_template(tokenizer, _FOLD + tokenizer.get_chat_template())
    if not tokenizer.get_chat_template().startswith(_FOLD):
        return []
    return [
        "the chat template knows no system message; its text is written before the user's, and the "
        "template is saved so with the model."
    ]


def template_warnings(
    tokenizer: Any, render: Render, eos_token_ids: set[int], kwargs: Mapping[str, Any]
) -> list[str]:
    """Return what of the template will change or prolong completions."""
    template = tokenizer.get_chat_template()
    found = []
    if "strftime_now" in template and "date_string" not in kwargs:
        way = (
            "set chat_template_kwargs: {date_string: 26 Jul 2024} or another fixed day"
            if "date_string" in template
            else "save a template with a fixed date"
        )
        found.append(
            "the chat template writes today's date into each prompt, so that a run resumed or "
            f"measured on another day has other prompts; {way}."
        )
    # Templates of models that do not think unless told to close the thought themselves.
    asks = "enable_thinking" in template and "enable_thinking" not in kwargs
    if asks and not render(_USER).rstrip().endswith("</think>"):
        found.append(
            "the chat template lets the model think before it answers, often for several thousand "
            "tokens, and what max_completion_length cuts off has no vote; set "
            "chat_template_kwargs: {enable_thinking: false}, or true if the length allows for it."
        )
    end = _end_of_turn(tokenizer, render)
    if end is not None and end not in eos_token_ids:
        token = tokenizer.convert_ids_to_tokens(end)
        found.append(
            f"the chat template ends a turn by {token}, at which the model does not stop: "
            "completions will run to max_completion_length and have no vote. Add its id "
            f"{end} to eos_token_id in generation_config.json, or take the instruct model."
        )
    return found


def no_template_problem(name: str) -> str:
    """Return what to do with a model whose tokenizer has no chat template."""
    return (
        f"the tokenizer of {name} has no chat template, so no prompt can be built; set "
        "prompt_style: completion, which shows a base model the bare texts, or take the instruct "
        "variant of the model."
    )


def _end_of_turn(tokenizer: Any, render: Render) -> int | None:
    """Return the id of the special token that the template writes behind an answer."""
    try:
        text = render([*_USER, {"role": "assistant", "content": _MARK}])
    except Exception:  # noqa: BLE001 - as above
        # A template need not know answers: nothing of ours shows it one.
        return None
    _, found, rest = text.rpartition(_MARK)
    ids = tokenizer(rest, add_special_tokens=False)["input_ids"] if found else []
    added = getattr(tokenizer, "added_tokens_decoder", {}).items()
    special = {*tokenizer.all_special_ids, *(number for number, token in added if token.special)}
    return next((each for each in ids if each in special), None)


def _set_template(tokenizer: Any, template: str) -> None:
    # Some tokenizers have several templates, by names; TRL renders with the default one.
    named = isinstance(tokenizer.chat_template, dict)
    new = {**tokenizer.chat_template, "default": template} if named else template
    replaced("tokenizer", tokenizer, chat_template=new)
