"""Keeping what libraries say about themselves out of the lines of a run."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

# TRL's own default sets off transformers' notices about a name that changes in version 6.
_RENAMED_OPTION = ".*gradient_checkpointing.* is deprecated"


def withhold_import_notices() -> None:
    """Keep bitsandbytes silent about a kernel it looks for, wherever it is imported later."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


@contextmanager
def without_unscored_rows() -> Generator[None]:
    """Withhold TRL's warning of a row without any reward: it would print what the model wrote.

    Such rows are counted as `serl/num_masked`.
    """

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("All reward functions returned None")

    logger = logging.getLogger("trl.trainer.grpo_trainer")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


@contextmanager
def own_lines_only() -> Generator[None]:
    """No bars for reading and writing weights, and no notice of a renamed option of TRL's.

    Bars for downloads stay: those last. Also a decorator.
    """
    from transformers.utils.logging import (
        disable_progress_bar,
        enable_progress_bar,
        is_progress_bar_enabled,
    )

    # Put back as it was: a user of the library may have switched the bars off.
    shown = is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _RENAMED_OPTION, FutureWarning)
        with _downloads_as_before():
            disable_progress_bar()
        try:
            yield
        finally:
            with _downloads_as_before():
                if shown:
                    enable_progress_bar()


@contextmanager
def _downloads_as_before() -> Generator[None]:
    """Keep the bars of downloads: transformers switches those of huggingface_hub, too."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    disabled = are_progress_bars_disabled()
    yield
    if disabled != are_progress_bars_disabled():
        (disable_progress_bars if disabled else enable_progress_bars)()
