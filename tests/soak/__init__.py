"""The long forms: thousands of connections, dozens of rounds; `make soak` runs them."""
