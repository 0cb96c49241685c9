"""From a pool of instructions to new ones: requests, their parsing, the pool itself."""
