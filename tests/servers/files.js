// node's http server over a directory: files, and for uploads /hash, /echo (both directions at once) and /reset.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { pipeline } = require('stream');

const [port, root] = process.argv.slice(2);
const TYPES = {
  '.html': 'text/html',
  '.txt': 'text/plain',
  '.jpg': 'image/jpeg',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.json': 'application/json',
};

function get(request, response) {
  if (request.url === '/reset') {
    response.writeHead(200, { 'Content-Length': 1 << 20 });
    response.write(Buffer.alloc(1000), () => request.socket.resetAndDestroy());
    return;
  }
  const file = path.join(root, path.basename(request.url));
  fs.stat(file, (error, status) => {
    if (error) {
      response.writeHead(404, { 'Content-Length': 0 });
      response.end();
      return;
    }
    const type = TYPES[path.extname(file)] || 'application/octet-stream';
    response.writeHead(200, { 'Content-Length': status.size, 'Content-Type': type });
    // A client that goes away destroys the response; pipeline, unlike pipe, closes the file then.
    pipeline(fs.createReadStream(file), response, () => {});
  });
}

function post(request, response) {
  if (request.url === '/echo') {
    response.writeHead(200, { 'Content-Length': request.headers['content-length'] });
    pipeline(request, response, () => {});
    return;
  }
  const digest = crypto.createHash('sha256');
  request.on('data', (piece) => digest.update(piece));
  request.on('end', () => response.end(digest.digest('hex')));
}

const server = http.createServer((request, response) => (request.method === 'POST' ? post : get)(request, response));
server.keepAliveTimeout = 60000;
server.listen(Number(port), '127.0.0.1', 1024);
