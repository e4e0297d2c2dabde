"""A page of 40 parts: style sheets, scripts, modules, images, data; each leaves a trace in the DOM.

Rules: the same bytes every time. It is done when it has seen all of its parts, and says so on the console;
nothing of its DOM depends on the order in which they come, nor on the server's port.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from pathlib import Path

STYLES, SCRIPTS, MODULES, DRAWINGS, PHOTOS, DATA = 8, 8, 4, 6, 6, 8
PARTS = STYLES + SCRIPTS + MODULES + DRAWINGS + PHOTOS + DATA
# Styles, scripts, modules, drawings, data that are larger than what is worth a packet, and the page itself.
SHRINKING = PARTS - PHOTOS + 1

MAIN = """
import { two } from './module1.js';
const list = document.getElementById('seen');
const say = (text) => list.append(Object.assign(document.createElement('li'), { textContent: text }));
await new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done));
window.parts.sort().forEach(say);
say(`modules ${two()}`);
for (const image of document.images) {
  say(`${image.getAttribute('src')} ${image.naturalWidth}x${image.naturalHeight}`);
}
const style = getComputedStyle(document.body);
for (let n = 0; n < STYLES; n++) say(`style ${n} ${style.getPropertyValue(`--part${n}`)}`);
const ask = async (_, n) => (await fetch(`data${n}.json`)).json();
const data = await Promise.all(Array.from({ length: DATA }, ask));
data.forEach((rows, n) => say(`data ${n} ${rows.length} ${rows.reduce((sum, row) => sum + row.value, 0)}`));
console.log('done');
"""


def png(width: int, height: int, chance: random.Random) -> bytes:
    """A picture of noise, which no coding shrinks."""
    rows = b"".join(b"\0" + chance.randbytes(3 * width) for _ in range(height))

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", header)
        + part(b"IDAT", zlib.compress(rows, 0))
        + part(b"IEND", b"")
    )


def lines(count: int, text: str) -> str:
    return "".join(text.replace("#", str(number)) for number in range(count))


def make(folder: Path) -> None:
    """Writes the page and its parts."""
    chance = random.Random(40)
    files: dict[str, str | bytes] = {}
    for n in range(STYLES):
        rules = lines(
            40 << n, f".s{n}x# {{ margin: #px; colour: rgb(#, {n}, 0); }}\n".replace("colour", "color")
        )
        files[f"style{n}.css"] = f"body {{ --part{n}: {n * n + 1}px; }}\n{rules}"
    for n in range(SCRIPTS):
        body = lines(50 << n, f"f.push(() => # * {n});\n")
        files[f"script{n}.js"] = (
            f"(() => {{ const f = [];\n{body}"
            f"(window.parts ??= []).push(`script {n} ${{f.reduce((sum, one) => sum + one(), 0)}}`); }})();\n"
        )
    for n in range(1, MODULES):
        inner = (
            f"import {{ two as next }} from './module{n + 1}.js';\n"
            if n + 1 < MODULES
            else "const next = () => 1;\n"
        )
        filler = lines(400, "// a line of what nobody reads, #\n")
        files[f"module{n}.js"] = f"{inner}{filler}export const two = () => 2 * next();\n"
    counts = f"const STYLES = {STYLES}, DATA = {DATA};\n"
    files["module0.js"] = counts + MAIN + lines(200, "// #\n")
    for n in range(DRAWINGS):
        shapes = lines(60 << n, f"<circle cx='#' cy='{n}' r='2'/>")
        files[f"drawing{n}.svg"] = (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{20 + n}' height='{10 + n}'>{shapes}</svg>"
        )
    for n in range(PHOTOS):
        files[f"photo{n}.png"] = png(8 << n, 10 + n, chance)
    for n in range(DATA):
        rows = [{"name": f"row {number}", "value": chance.randrange(1000)} for number in range(60 << n)]
        files[f"data{n}.json"] = json.dumps(rows)
    files["index.html"] = "\n".join(
        [
            "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Forty parts</title>",
            "<link rel='icon' href='data:,'>",
            *(f"<link rel='stylesheet' href='style{n}.css'>" for n in range(STYLES)),
            *(
                f"<script src='script{n}.js' {'async' if n % 2 else 'defer'}></script>"
                for n in range(SCRIPTS)
            ),
            "<script type='module' src='module0.js'></script></head><body><h1>Forty parts: é, ü, 漢</h1>",
            *(f"<img alt='' src='drawing{n}.svg'>" for n in range(DRAWINGS)),
            *(f"<img alt='' src='photo{n}.png'>" for n in range(PHOTOS)),
            *(
                f"<p class='s{n % 8}x{n}'>Paragraph {n} of a page that is long enough.</p>"
                for n in range(300)
            ),
            "<ul id='seen'></ul></body></html>",
        ]
    )
    for name, data in files.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
