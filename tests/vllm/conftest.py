"""The CPU build of vLLM in this process, made to take new weights."""

import os

# Before vLLM is imported: the engine in this process, little memory, and no news to anybody.
os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_NO_USAGE_STATS="1",
)

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed; run: make test-vllm")

import vllm.model_executor.layers.utils as layers


def _plain(layer: torch.nn.Module, remove_weight: bool = False) -> None:
    """Keep linear weights as they are: the CPU build repacks them, and then can load no others."""
    layer.cpu_linear = torch.nn.functional.linear


layers.dispatch_cpu_unquantized_gemm = _plain
