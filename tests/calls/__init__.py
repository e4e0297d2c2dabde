"""The paper's calls, in C and in Python: errors, batches, masks, chains."""
