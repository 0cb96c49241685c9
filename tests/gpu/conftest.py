"""What holds for the GPU tests, which run without `tests/conftest.py`: no network."""

import os

# Before anything imports a Hugging Face library.
os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "NO_COLOR": "1"})
