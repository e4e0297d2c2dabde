"""The estimators, over snapshots that a simulated link makes and over ones that were recorded."""
