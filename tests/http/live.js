// What files do not show: events that come slowly, a body that waits to be told, other protocols, and a page that uses them.
'use strict';
const crypto = require('crypto');
const http = require('http');

const port = process.argv[2];
let release = null;

const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Live</title><link rel="icon" href="data:,">
</head><body><ul id="seen"></ul><script type="module">
const say = (text) => document.getElementById('seen').append(
  Object.assign(document.createElement('li'), { textContent: text }));
await new Promise((done) => {
  const events = new EventSource('/events');
  events.onmessage = (event) => {
    say('event ' + event.data);
    if (event.data === 'one') fetch('/release').then((told) => told.text());
    else { events.close(); done(); }
  };
});
const answer = await fetch('/page'), reader = answer.body.getReader();
let length = (await reader.read()).value.length;
await (await fetch('/release')).text();
for (let part; !(part = await reader.read()).done;) length += part.value.length;
say('streamed ' + length);
await new Promise((done) => {
  const socket = new WebSocket('ws://' + location.host + '/');
  socket.onopen = () => socket.send('hello');
  socket.onmessage = (message) => { say('socket ' + message.data); socket.close(1000); };
  socket.onclose = (close) => { say('closed ' + close.code); done(); };
});
console.log('done');
</script>${'<p>of some length</p>'.repeat(100)}</body></html>`;

const server = http.createServer((request, response) => {
  if (request.url === '/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: one\n\n');
    release = () => response.end('data: two\n\n');
  } else if (request.url === '/page') {
    response.writeHead(200, { 'Content-Type': 'text/html', Trailer: 'X-Sum' });
    response.write('<p>one'.repeat(300));
    release = () => {
      response.addTrailers({ 'X-Sum': '600' });
      response.end('<p>two'.repeat(300));
    };
  } else if (request.url === '/') {
    response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Length': Buffer.byteLength(PAGE) });
    response.end(PAGE);
  } else if (request.url === '/release') {
    release();
    response.end();
  } else {
    response.writeHead(404, { 'Content-Length': 0 });
    response.end();
  }
});
// WebSocket (RFC 6455) as far as short frames go: text comes back in capitals, a close as it is.
function frames(request, socket) {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let held = Buffer.alloc(0);
  socket.on('data', (data) => {
    held = Buffer.concat([held, data]);
    while (held.length >= 6 && held.length >= 6 + (held[1] & 127)) {
      const length = held[1] & 127, mask = held.subarray(2, 6), isText = (held[0] & 15) === 1;
      const body = held.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]);
      const said = isText ? Buffer.from(body.toString().toUpperCase()) : body;
      socket.write(Buffer.concat([Buffer.from([held[0], length]), said]));
      held = held.subarray(6 + length);
      if (!isText) socket.end();
    }
  });
}
server.on('upgrade', (request, socket) => {
  if (request.headers.upgrade === 'websocket') return frames(request, socket);
  // Capitals, so that nobody takes it for an echo of the socket's own.
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: capitals\r\n\r\n');
  socket.on('data', (data) => socket.write(data.toString().toUpperCase()));
  socket.on('end', () => socket.end());
});
server.listen(Number(port), '127.0.0.1');
