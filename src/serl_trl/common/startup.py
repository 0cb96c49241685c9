"""A faster start: three imports that transformers makes on the way to a config wait until needed.

`trainer_utils` imports peft only to ask whether a model is one of its classes, and peft brings
bitsandbytes and half of `torch.distributed`. `TrainingArguments` imports the code of all models and
trackers only to read one variable of the environment. A model's config imports all activation
functions, and with them distributed tensors and sympy, only for the names that it may give.
Together they are two thirds of the seconds that a config takes. Nothing breaks without this, but
`serl check` then starts in 5 seconds in place of 2, and prints what bitsandbytes has to say.
"""

import gc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def quick_imports() -> Generator[None]:
    """Load libraries a fifth quicker, for commands that end soon after.

    Python looks for garbage whenever there are a quarter more objects, and two thousand modules are
    millions of objects, none of them garbage. And transformers reads the text of all its
    models' files for their names, and once more when the first of them is asked for.
    """
    was_on = gc.isenabled()
    gc.disable()
    models = _plain_models()
    try:
        yield
    finally:
        if models is not None and sys.modules.get(models.__name__) is models:
            # Whoever imports it now gets the real one.
            del sys.modules[models.__name__]
        if was_on:
            gc.enable()


def _plain_models() -> ModuleType | None:
    """Put a package with transformers' modules and no list of their names in its place."""
    name, spec = "transformers.models", importlib.util.find_spec("transformers")
    if name in sys.modules or spec is None or not spec.submodule_search_locations:
        return None
    models = ModuleType(name)
    models.__path__ = [os.path.join(spec.submodule_search_locations[0], "models")]
    sys.modules[name] = models
    return models


class _Deferred(type):
    """The type of a class that stands for one of peft's of the same name."""

    def __instancecheck__(cls, instance: Any) -> bool:
        # An object of a class of peft's exists only where peft is loaded.
        peft = sys.modules.get("peft")
        return peft is not None and isinstance(instance, getattr(peft, cls.__name__))


def defer_heavy_imports() -> None:
    """Let transformers' config load without peft and models, which are loaded when they are used.

    What is loaded already stays as it is.
    """
    import transformers.integrations

    if "transformers.integrations.integration_utils" not in sys.modules:
        # Found by name at the first use, so that a name that stands there already is not loaded.
        vars(transformers.integrations)["is_kubeflow_available"] = _is_kubeflow_available
    if not {"peft", "transformers.trainer_utils"} & sys.modules.keys():
        _load_trainer_utils()
    if not {"transformers.activations", "transformers.utils.type_validators"} & sys.modules.keys():
        _load_type_validators()


class _Activations:
    """Stands for transformers' mapping of activation functions, of which a config asks names."""

    def __contains__(self, name: object) -> bool:
        return name in self._loaded()

    def __len__(self) -> int:
        return len(self._loaded())

    def keys(self) -> Any:
        return self._loaded().keys()

    def _loaded(self) -> Any:
        from transformers.activations import ACT2FN

        return ACT2FN


def _load_type_validators() -> None:
    """Import transformers' `type_validators` with a stand-in for the functions that it names."""
    stand_in = ModuleType("transformers.activations")
    vars(stand_in)["ACT2FN"] = _Activations()
    sys.modules[stand_in.__name__] = stand_in
    try:
        import transformers.utils.type_validators  # noqa: F401  (for its effect)
    except ImportError:
        # Another release has no such module, and asks for no names.
        pass
    finally:
        del sys.modules[stand_in.__name__]


def _is_kubeflow_available() -> bool:
    """Return what transformers' function of this name does, and import it only for a yes."""
    if "KUBEFLOW_TRAINER_SERVER_URL" not in os.environ:
        return False
    from transformers.integrations.integration_utils import is_kubeflow_available

    return is_kubeflow_available()


def _load_trainer_utils() -> None:
    """Import transformers' `trainer_utils` with a stand-in under the name peft."""
    if importlib.util.find_spec("peft") is None:
        return
    stand_in = ModuleType("peft")
    # transformers asks for the spec when it looks whether the package is there.
    stand_in.__spec__ = importlib.machinery.ModuleSpec("peft", None)
    for name in ("PeftModel", "PeftMixedModel"):
        setattr(stand_in, name, _Deferred(name, (), {}))
    sys.modules["peft"] = stand_in
    try:
        import transformers.trainer_utils  # noqa: F401  (for its effect)
    finally:
        del sys.modules["peft"]
