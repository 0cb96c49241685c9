"""Train by self-play: `accelerate launch train.py --config configs/sandbox_cpu.yaml`.

The same as `serl train`, as a file that `accelerate launch` and `torchrun` can start.
"""

import sys

from serl_trl.cli.entry import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
