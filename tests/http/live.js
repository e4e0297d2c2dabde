// What files do not show: events that come slowly, a body that waits to be told, another protocol.
'use strict';
const http = require('http');

const port = process.argv[2];
let release = null;

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
  } else if (request.url === '/release') {
    release();
    response.end();
  } else {
    response.writeHead(404, { 'Content-Length': 0 });
    response.end();
  }
});
// Capitals, so that nobody takes it for an echo of the socket's own.
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: capitals\r\n\r\n');
  socket.on('data', (data) => socket.write(data.toString().toUpperCase()));
  socket.on('end', () => socket.end());
});
server.listen(Number(port), '127.0.0.1');
