"""What hostile clients and servers cost everybody else behind module gzip. See README.md."""
