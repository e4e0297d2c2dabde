"""Figure 3: what delegation costs a web server. See README.md."""
