"""The random state of a process, taken and put back as a whole."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch


@dataclass(frozen=True)
class RandomState:
    """The state of every generator that a backend may draw from."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    gpus: list[torch.Tensor]

    @classmethod
    def take(cls) -> Self:
        """Read it."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus)

    def put(self) -> None:
        """Put it back."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)


@contextmanager
def private_randomness(seed: int) -> Generator[None]:
    """Let `seed` alone decide what torch draws inside the block; the run's own state stays."""
    before = RandomState.take()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        before.put()
