"""The repository itself: README, layout, scripts, wheel, demo."""
