"""Real servers, unmodified, each started natively or under modules, as root or as an ordinary user.

`SERVERS` names them; `running(...)` starts one and guarantees that nothing of it stays behind. A server's
file says how it is configured and what its clients may see natively (its *traits*).
"""
