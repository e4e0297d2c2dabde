"""How far the estimators of `modnet.estimate` are from the truth, on shaped links and recorded traces."""
