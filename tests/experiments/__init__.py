"""The experiments' own tests: figures are only as good as what measures them."""
