"""Apache with PHP, which makes the report line by line; with mod_deflate at a level, or behind a module.

One configuration of our own a variant; prefork, a process a client, all of which stay: where ten were
started, Apache served ten clients and doubled its processes once a second, so that how many of 40 downloads
went on at once hung on how long ago the last round was. It must not know links.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.common.errors import ExperimentError
from experiments.common.servers import Server
from experiments.fig04 import plan

_MODULES = Path("/usr/lib/apache2/modules")
_PHP = """<?php
header('Content-Type: text/csv');
$report = fopen(__DIR__ . '/report.csv', 'rb');
while (($line = fgets($report)) !== false) {
    echo $line;
}
"""
_CONFIGURATION = """
ServerRoot {here}
ServerName localhost
Listen {port}
PidFile {here}/apache.pid
ErrorLog {here}/error.log
Mutex file:{here} default
DefaultRuntimeDir {here}
User www-data
Group www-data
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule php_module {php}
PHPIniDir {here}
TypesConfig /dev/null
AddType application/x-httpd-php .php
php_admin_value output_buffering 8192
StartServers 60
MinSpareServers 1
MaxSpareServers 60
MaxRequestWorkers 60
KeepAlive On
DocumentRoot {www}
<Directory />
    Require all granted
    {deflate}
</Directory>
"""


def write_data(www: Path, report: bytes) -> None:
    """The report, and what sends it."""
    www.mkdir()
    (www / "report.csv").write_bytes(report)
    (www / "report.php").write_text(_PHP)


def start(server: Server, variant: str, port: int, www: Path) -> None:
    """Starts Apache for a variant, and waits until it listens."""
    here = server.folder
    php = sorted(_MODULES.glob("libphp*.so"))
    if not php:
        raise ExperimentError("mod_php is missing: apt-get install libapache2-mod-php")
    level = plan.DEFLATE.get(variant)
    deflate = "" if level is None else f"SetOutputFilter DEFLATE\n    DeflateCompressionLevel {level}"
    (here / "php.ini").write_text("opcache.enable = 1\n")
    text = _CONFIGURATION.format(
        here=here, port=port, modules=_MODULES, php=php[-1], www=www, deflate=deflate
    )
    if level is not None:
        text = text.replace("DeflateCompressionLevel", "#").replace("</Directory>", "</Directory>\n", 1)
        text += f"DeflateCompressionLevel {level}\n"
    (here / "apache.conf").write_text(text)
    argv = ["apache2", "-f", str(here / "apache.conf"), "-DFOREGROUND"]
    environment: dict[str, str] = {}
    if variant in plan.MODULES:
        environment = {"MODNET_RUNTIME_DIR": str(here / "rt")}
        argv = [sys.executable, "-m", "modnet", "run", "-m", plan.MODULES[variant], "--", *argv]
    server.start(argv, environment)
    server.await_port(port)
