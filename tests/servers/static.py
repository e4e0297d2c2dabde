"""nginx and Apache: files from the disk, uploads by PUT (nginx) or PHP (Apache prefork).

Rules: a configuration of our own, nothing from /etc; master in the foreground; as root the workers are
www-data.
"""

from pathlib import Path

from tests.lib.place import Place
from tests.servers.base import Server, Traits

NGINX = """
{user}
daemon off;
worker_processes 2;
worker_rlimit_nofile {descriptors};
pid {here}/nginx.pid;
error_log {here}/logs/error.log;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    default_type application/octet-stream;
    types {{
        text/html html; text/plain txt; image/jpeg jpg; image/png png; image/svg+xml svg;
        text/css css; text/javascript js; application/json json;
    }}
    sendfile on; tcp_nopush on; keepalive_requests 100000;
    client_header_timeout 600; send_timeout 600; keepalive_timeout 600;
    client_max_body_size 64m;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        root {www};
        location /uploads/ {{ root {here}; dav_methods PUT; }}
    }}
}}
"""

APACHE = """
ServerRoot {here}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {here}/apache.pid
ErrorLog {here}/logs/error.log
Mutex file:{here}/tmp default
DefaultRuntimeDir {here}/tmp
{user}
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
{workers}
MaxKeepAliveRequests 0
KeepAliveTimeout 15
DocumentRoot {www}
<Directory />
    Require all granted
</Directory>
"""

PREFORK = """
StartServers 8
MaxRequestWorkers 96
MaxSpareServers 96
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule php_module {php}
TypesConfig /dev/null
AddType application/x-httpd-php .php
AddType text/html .html
AddType text/plain .txt
AddType image/jpeg .jpg
AddType image/png .png
AddType image/svg+xml .svg
AddType text/css .css
AddType text/javascript .js
AddType application/json .json
Alias /scripts {here}
php_admin_value post_max_size 64M
"""

# The event MPM closes kept-alive connections when all threads of a process are busy, so each has more than
# the load has clients, and when it ends a process because many threads are idle, so none is ended.
EVENT = """
StartServers 2
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 256
MinSpareThreads 1
MaxSpareThreads 256
"""

HASH_PHP = """<?php
$digest = hash_init('sha256');
$body = fopen('php://input', 'rb');
hash_update_stream($digest, $body);
echo hash_final($digest);
"""

ECHO_PHP = """<?php
header('Content-Type: application/octet-stream');
header('Content-Length: ' . $_SERVER['CONTENT_LENGTH']);
readfile('php://input');
"""


def nginx_command(place: Place, www: Path, connections: int = 4000) -> list[str]:
    root = place.user.uid == 0
    text = NGINX.format(
        user="user www-data;" if root else "",
        here=place.directory,
        port=place.port,
        www=www,
        connections=connections,
        descriptors=connections + 1000,
    )
    return [
        "/usr/sbin/nginx",
        "-p",
        str(place.directory),
        "-c",
        str(place.write("nginx.conf", text)),
        "-e",
        str(place.logs / "error.log"),
    ]


def apache_command(place: Place, www: Path, mpm: str, workers: str) -> list[str]:
    root = place.user.uid == 0
    text = APACHE.format(
        user="User www-data\nGroup www-data" if root else "",
        here=place.directory,
        port=place.port,
        www=www,
        mpm=mpm,
        workers=workers,
    )
    return ["/usr/sbin/apache2", "-f", str(place.write("apache.conf", text)), "-DFOREGROUND"]


def prefork_command(place: Place, www: Path) -> list[str]:
    libraries = sorted(Path("/usr/lib/apache2/modules").glob("libphp*.so"))
    if not libraries:
        raise FileNotFoundError("mod_php is not installed: apt-get install libapache2-mod-php")
    place.write("hash.php", HASH_PHP)
    place.write("echo.php", ECHO_PHP)
    return apache_command(place, www, "prefork", PREFORK.format(php=libraries[-1], here=place.directory))


# nginx gives a request up when it has to wait for a client that has half-closed.
NGINX_SERVER = Server(
    "nginx", ("nginx",), nginx_command, Traits(upload="put", half_close=frozenset({"ok", "short", "reset"}))
)
APACHE_PHP = Server(
    "apache-php", ("apache2",), prefork_command, Traits(upload="post", scripts="/scripts", suffix=".php")
)
APACHE_EVENT = Server(
    "apache-event", ("apache2",), lambda place, www: apache_command(place, www, "event", EVENT)
)
