"""Facts of a run as far as they may leave: of the right form, and no option but known ones."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from serl_trl.common.records import ANY, Shape, fits
from serl_trl.common.secrets import is_secret
from serl_trl.data.tables import is_hub_id
from serl_trl.runs.facts import RunFacts, recipe
from serl_trl.train.options import SelfPlayOptions

# The shape of each fact follows from its type, so that a new one is listed in `RunFacts` alone.
_SHAPE_OF: dict[Any, Shape] = {
    str | None: (str, None),
    dict[str, int]: {ANY: int},
    dict[str, str]: {ANY: str},
    dict[str, Any]: dict,
}
_SHAPES = {name: _SHAPE_OF.get(kind, kind) for name, kind in get_type_hints(RunFacts).items()}

# What these texts look like where a run wrote them; they stand in code, links and metadata.
_FORMS = {
    "run_id": re.compile(r"[\w-]{1,40}"),
    "base_revision": re.compile(r"[\w./-]{1,100}"),
    "base_license": re.compile(r"[\w.+-]{1,60}"),
    "seed_source": re.compile(r"sandbox[ \w-]{0,40}|[\w.-]{1,96}/[\w.-]{1,96}"),
}

# Importing these takes seconds and loads torch, which a push needs for nothing else.
_OPTION_SOURCES = (
    ("transformers", "training_args.py"),
    ("trl", "trainer/base_config.py"),
    ("trl", "trainer/grpo_config.py"),
)
_FIELD = re.compile(r"^    ([a-z]\w*): .+(?: = |\()", re.MULTILINE)


def facts_of(stored: Mapping[str, Any], config: Mapping[str, Any]) -> RunFacts:
    """Return the facts that a run stored, without what cannot be one.

    Where it stored none (or damaged ones) the id is taken from its config, and the options are all
    that the config names. No other options than those that this version knows are among them.
    """
    whole = {
        name: stored[name]
        for name, shape in _SHAPES.items()
        if name in stored and fits(stored[name], shape)
    }
    # A text of another form was not written by a run, and is dropped rather than escaped.
    for name, form in _FORMS.items():
        if isinstance(text := whole.get(name), str) and not form.fullmatch(text):
            del whole[name]
    if not is_hub_id(whole.get("base") or ""):
        whole["base"] = whole["base_revision"] = None
    whole["options"] = _known(whole.get("options", {}))
    try:
        return RunFacts(**whole)
    except TypeError:
        content = json.dumps(config, sort_keys=True, default=str).encode()
        return RunFacts(
            # As long as the ids that runs draw, and the same for each push.
            run_id=hashlib.sha256(content).hexdigest()[:12],
            options=_known(recipe(config)),
            all_options=True,
        )


@cache
def known_options() -> frozenset[str]:
    """Return the names of all options of a run, without importing TRL and torch.

    They are read from the source of the classes that define them; of a class that lies elsewhere
    in another version none is known, and none of its options is shown.
    """
    names = {f.name for f in fields(SelfPlayOptions)}
    for package, file in _OPTION_SOURCES:
        spec = importlib.util.find_spec(package)
        # Read as text; a package that is not installed has no options to show.
        for folder in (spec.submodule_search_locations if spec else None) or ():
            if (path := Path(folder) / file).is_file():
                names |= set(_FIELD.findall(path.read_text(encoding="utf-8")))
    # A token of the Hub is an option like any other, and never a part of the recipe.
    return frozenset(name for name in names if not is_secret(name))


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in known_options()}
