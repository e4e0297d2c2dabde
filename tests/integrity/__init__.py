"""Whether every byte arrives and every connection ends as it would without modules."""
