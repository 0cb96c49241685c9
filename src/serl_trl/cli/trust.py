"""What a config file may not say, because it lets somebody else's code run."""

from collections.abc import Iterator, Mapping
from typing import Any

from serl_trl.common.plugin import installed_plugins, shown
from serl_trl.common.problem import Problem

# Texts of `from_pretrained` that choose among what is there, and switches that let code run.
_LOADING = {
    *("attn_implementation", "device_map", "dtype", "revision", "rope_parameters", "rope_scaling"),
    *("torch_dtype", "variant"),
}
# Plain values that still run code or send a token. Anything that is no plain value is refused.
_RUNS_CODE = {"trust_remote_code", "use_kernels", "use_safetensors", "weights_only", "token"}


def only_by_flag(given: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what a file asks for that runs code, which only whoever starts the run may allow.

    `origins` says where each value comes from, flags as `--name`.
    """
    named = {
        # A default has no origin and asks for nothing.
        name: value
        for name, value in given.items()
        if not origins.get(name, "--").startswith("--")
    }
    if strange := sorted(set(named.get("plugins") or ()) - installed_plugins()):
        names = shown(" ".join(strange))
        way_out = f"If you trust it, say --plugins {names}"
        yield Problem("plugins", names, "would run that code", way_out)
    if named.get("trust_remote_code"):
        rule = "would run code from the model's repository"
        way_out = "If you trust it, say --trust_remote_code true"
        yield Problem("trust_remote_code", True, rule, way_out)
    kwargs = named.get("model_init_kwargs")
    # A value of another type was named as a problem already.
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    for name in kwargs:
        if not _only_numbers(name, kwargs[name]):
            yield Problem(
                "model_init_kwargs",
                f"{{{shown(str(name))}: ...}}",
                "may run code or read other files, so a config file cannot say it",
                "If you want it, give --model_init_kwargs as JSON",
            )
    for kernel in (named.get("attn_implementation"), kwargs.get("attn_implementation")):
        if isinstance(kernel, str) and "/" in kernel:
            rule, way_out = "would run code from the Hub", "If you trust it, say it as a flag"
            yield Problem("attn_implementation", shown(kernel), rule, way_out)


def _only_numbers(name: Any, value: Any) -> bool:
    """Return whether an argument of `from_pretrained` only changes numbers of the model."""
    plain = value is None or isinstance(value, int | float)
    return name in _LOADING or (plain and name not in _RUNS_CODE)
