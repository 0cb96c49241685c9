"""What single commands take beside the options of a run; light, for their help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf as INF
from types import MappingProxyType
from typing import Any

from serl_trl.common.options import option
from serl_trl.measure.session import CHUNK_SIZE
from serl_trl.plan.estimate import GPUS


@dataclass
class ProposeOptions:
    """What `serl propose` takes beside the options of a run."""

    num: int = option(20, "How many proposals.", aliases=["-n"])
    output: str | None = option(None, "Write one JSON object per proposal to this file.")


@dataclass
class TryOptions:
    """What `serl try` takes beside the options of a run."""

    try_seeds: int = option(
        16,
        "Seeds to roll out, and as many problems of the probe set.",
        (1, INF),
        "16 takes minutes on a CPU",
    )
    try_votes: int | None = option(
        None,
        "Completions of each; by default num_generations, as in the run.",
        (2, 4096),
        "leave it out to vote as the run does",
    )
    try_proposals: int = option(20, "How many proposals to write.", (0, INF), "0 writes none")


@dataclass
class PlanOptions:
    """What `serl plan` takes beside the options of a run."""

    gpu: str | None = option(
        None,
        f"Size of each GPU such as 24gb, or one of {', '.join(GPUS)}; by default the "
        "GPU that is found.",
    )
    num_gpus: int | None = option(
        None,
        "GPUs that train; by default those of accelerate_config.",
        (1, INF),
        "leave it out where unknown",
    )
    accelerate_config: str | None = option(
        None, "File for accelerate launch, such as one in configs/."
    )
    tokens_per_s: float | None = option(
        None,
        "Tokens that all GPUs together sample in a second.",
        (1e-3, INF),
        "leave it out where unknown",
    )
    update_tokens_per_s: float | None = option(
        None,
        "Tokens that all GPUs together train on in a second, both passes.",
        (1e-3, INF),
        "leave it out where unknown",
    )
    kept_ratio: float = option(
        0.5, "Share of groups that the band keeps; a run logs its own.", (1e-3, 1), "0.5 is usual"
    )


@dataclass
class ServeOptions:
    """What `serl serve` takes beside the options of a run."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on. The server takes weights from whoever reaches it: any "
        "other than the loopback belongs into a private network.",
    )
    port: int | None = option(
        None,
        "Port of the server; by default the one the config's run asks for.",
        (1, 65535),
        "8000 is usual",
    )
    gpu_memory_utilization: float = option(
        0.9, "Share of each GPU's memory the server takes.", (0.01, 1), "0.9 is usual"
    )
    dry_run: bool = option(False, "Print the command, start nothing.")


@dataclass
class EvalOptions:
    """What `serl eval` takes beside the options of a run."""

    benchmarks: str | None = option(
        None, "Names with commas between them; docs/evaluation.md lists them."
    )
    benchmark_files: list[str] | None = option(
        None,
        "name=FILE: read a benchmark from a file in place of the Hub. Any other name is that of a "
        "set of your own, which a built-in answer_kind grades.",
    )
    num_samples: int = option(16, "Completions per problem, beside a greedy one; at least 1.")
    k: list[int] | None = option(None, "Further k of pass@k and maj@k, in [1, num_samples].")
    max_problems: int | None = option(None, "Measure only the first so many problems of each.")
    chunk_size: int = option(
        CHUNK_SIZE, "Problems between two writes; an interrupted chunk is done again."
    )
    compare: list[str] | None = option(
        None,
        "BASE TRAINED [TRAINED ...]: folders of serl eval, or models to evaluate first; several "
        "trained ones are runs of one method, averaged.",
    )
    self_check: bool = option(
        False,
        "Grade the gold answers of the benchmarks (by default all) against themselves, and name "
        "those that cannot match; no model is loaded.",
    )


OWN_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "try": TryOptions,
        "propose": ProposeOptions,
        "plan": PlanOptions,
        "serve": ServeOptions,
        "eval": EvalOptions,
    }
)
