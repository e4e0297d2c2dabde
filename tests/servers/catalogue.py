"""Which servers there are, by name; `HTTP` are those that the HTTP client can load."""

from tests.servers.base import Server
from tests.servers.databases import POSTGRESQL, REDIS
from tests.servers.scripted import JAVA, NODE, PYTHON
from tests.servers.static import APACHE_EVENT, APACHE_PHP, NGINX_SERVER

HTTP: dict[str, Server] = {s.name: s for s in (NGINX_SERVER, APACHE_PHP, PYTHON, NODE, JAVA, APACHE_EVENT)}
SERVERS: dict[str, Server] = {**HTTP, REDIS.name: REDIS, POSTGRESQL.name: POSTGRESQL}
