"""Similarity of meaning through sentence embeddings: an extra, off unless a model is named."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from serl_trl.common.plugin import shown

Encoder = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Texts -> one vector each (B, dim); vectors need not be normalised."""


def load_encoder(model: str) -> Encoder:
    """Return the encoder of a sentence-transformers model, given by path or id.

    Raises `ImportError` when the `embeddings` extra is not installed.
    """
    try:
        # An extra, which the type checker need not find.
        from sentence_transformers import SentenceTransformer  # ty: ignore[import-not-found]
    except ImportError as error:
        raise ImportError(
            f"embedding_model={model} needs sentence-transformers; install the extra with "
            "`pip install serl-trl[embeddings]`, or leave embedding_model empty."
        ) from error
    _refuse_code(Path(model))
    encoder = SentenceTransformer(model)
    return lambda texts: encoder.encode(list(texts), show_progress_bar=False)


def _refuse_code(folder: Path) -> None:
    """Refuse a folder that names classes of its own: the library would import and run them.

    Of a model on the Hub it does so only when it is told to trust that.
    """
    try:
        parts = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(part["type"]) for part in parts]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"embedding_model={folder}: its modules.json cannot be read; take another model."
        ) from error
    if strange := [kind for kind in kinds if not kind.startswith("sentence_transformers.")]:
        raise ValueError(
            f"embedding_model={folder} would run code of its own ({shown(strange[0])}, named in "
            "modules.json); take a model made of sentence-transformers' own classes."
        )


class CosineIndex:
    """Known texts as unit vectors, and the largest cosine of a new text against all of them."""

    def __init__(self, encode: Encoder) -> None:
        self._encode = encode
        self._texts: list[str] = []
        self._vectors = np.zeros((0, 0), dtype=np.float32)
        self._last: tuple[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Sequence[str]) -> None:
        """Make `texts` known; one call for many is far cheaper than many calls."""
        if not texts:
            return
        new = self._vector(texts[0])[None] if len(texts) == 1 else self._unit(texts)
        # In float32: half the memory, and cosines are compared to two digits.
        needed = len(self._texts) + len(texts)
        if needed > len(self._vectors):  # room doubles, so that adding one by one stays linear
            grown = np.zeros((max(64, 2 * needed), new.shape[1]), dtype=np.float32)
            if self._texts:
                grown[: len(self._texts)] = self._vectors[: len(self._texts)]
            self._vectors = grown
        self._vectors[len(self._texts) : needed] = new
        self._texts += texts

    def nearest(self, text: str) -> tuple[float, str] | None:
        """Return the largest cosine to a known text and that text; `None` when none is known."""
        if not self._texts:
            return None
        cosines = self._vectors[: len(self._texts)] @ self._vector(text)
        # The first of several equally near texts.
        row = int(cosines.argmax())
        return float(cosines[row]), self._texts[row]

    def _vector(self, text: str) -> np.ndarray:
        # A text is judged first and added next: it is encoded once.
        if self._last is None or self._last[0] != text:
            self._last = (text, self._unit([text])[0])
        return self._last[1]

    def _unit(self, texts: Sequence[str]) -> np.ndarray:
        # A text without words may get a vector of NaN or zeros; it is then like nothing.
        vectors = np.nan_to_num(np.asarray(self._encode(texts), dtype=np.float32))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1)
