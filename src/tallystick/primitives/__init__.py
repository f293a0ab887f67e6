"""The atoms of the record: amounts, bytes, digests, trees, keys, notes; they know nothing of jobs, GPUs or chains."""
