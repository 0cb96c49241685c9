"""Prompts as a model's chat template writes them, rendered in a process of bounded time."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from serl_trl.common.completion import Messages
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.text import visible

# Of processor time. Jinja loads in a fraction of a second, and a chat takes far less than a
# millisecond; the rest is for slow machines.
LIMIT_S = 4.0
_LIMIT_PER_CHAT_S = 0.005
# For a process that does not even start; what it may compute is bounded in processor time.
_PATIENCE_S = 120.0


def render_chats(
    tokenizer: Any, chats: Sequence[Messages], *, name: str, **template_kwargs: Any
) -> list[str]:
    """Return the prompt of each conversation as the template of `tokenizer` writes it.

    `name` is that of the model, for messages. Raises `SeRLConfigError` when the template fails, or
    takes more than `LIMIT_S` seconds of processor time.
    """
    try:
        template = tokenizer.get_chat_template(template_kwargs.pop("chat_template", None))
        limit = LIMIT_S + _LIMIT_PER_CHAT_S * len(chats)
        kwargs = {**_special_tokens(tokenizer), **template_kwargs}
        job = {"template": template, "chats": list(chats), "kwargs": kwargs, "limit_s": limit}
        return _ask(json.dumps(job), limit)
    # A keyword that JSON cannot hold is a TypeError of the writer.
    except (ValueError, TypeError) as error:
        reason = visible(" ".join(str(error).split())).rstrip(".")
        raise SeRLConfigError(
            [
                f"the chat template of {visible(name)} cannot be used: {reason}. Correct it in the "
                "model's folder (chat_template.jinja or tokenizer_config.json), or take another "
                "model."
            ]
        ) from None


def _special_tokens(tokenizer: Any) -> dict[str, Any]:
    """Return what a template may name, such as `bos_token`, as texts and lists of texts."""
    return {
        name: [str(each) for each in token] if isinstance(token, list) else str(token)
        for name, token in tokenizer.special_tokens_map.items()
    }


def _ask(job: str, limit: float) -> list[str]:
    """Return the texts that the worker writes; raises `ValueError` with its reason for none."""
    command = [sys.executable, "-m", "serl_trl.propose.template_worker"]
    places = os.pathsep.join(path for path in sys.path if path)
    # No module of the working directory is loaded in place of a library's, and no GPU is touched.
    env = {**os.environ, "PYTHONPATH": places, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            command,
            input=job,
            env=env,
            cwd=tempfile.gettempdir(),
            encoding="utf-8",
            capture_output=True,
            timeout=_PATIENCE_S + limit,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        # The kernel ends a worker past its processor time, which then has written nothing.
        raise ValueError(f"it does not end within {limit:.0f} s") from None
    if "texts" not in answer:
        raise ValueError(answer["error"])
    return answer["texts"]
