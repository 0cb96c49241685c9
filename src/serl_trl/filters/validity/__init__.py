"""Is a proposal a question with an answer? One file for each signal, each a score in [0, 1].

Signs in the text are read before any rollout; the shape and the domain of the votes after it.
"""
