"""The process that renders a chat template: one JSON object in, one out.

A template is a program that came with a model: transformers lets it touch nothing, but it may count
to any number or build any text. Here its processor time and memory are bounded, and the kernel ends
the process where the interpreter cannot be interrupted.
"""

import json
import os
import resource
import sys

from serl_trl.answers.worker import limit_resources, refuse_access

MAX_CHARS = 4_000_000
MEMORY_MB = 2048


def main() -> None:
    """Read a job from standard input, and write its texts or its error."""
    # Templates may print through libraries; only the reply may reach the parent.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    from transformers.utils.chat_template_utils import render_jinja_template

    limit_resources(MEMORY_MB)
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + job["limit_s"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    sys.addaudithook(refuse_access)
    try:
        texts, _ = render_jinja_template(
            job["chats"], chat_template=job["template"], add_generation_prompt=True, **job["kwargs"]
        )
        longest = max(map(len, texts), default=0)
        too_long = f"it writes a prompt of {longest:,} characters" if longest > MAX_CHARS else ""
        answer = {"error": too_long} if too_long else {"texts": texts}
    except MemoryError:
        answer = {"error": f"it needs more than {MEMORY_MB:,} MB"}
    except Exception as error:  # noqa: BLE001 - whatever the template's own operations raise
        answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    reply.write(json.dumps(answer))
    reply.flush()
    # What the template built may take long to take apart.
    os._exit(0)


if __name__ == "__main__":
    main()
