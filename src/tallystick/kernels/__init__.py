"""Reference kernels on numpy: the definition of a right answer, its halo and its arithmetic."""
