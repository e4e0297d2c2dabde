// What a response may be besides a page: hints before it, nothing in it, fields of every kind; one path each.
'use strict';
const http = require('http');
const zlib = require('zlib');

const TEXT = 'a line of text, as there are many\n'.repeat(400);
const html = { 'Content-Type': 'text/html' };

const answers = {
  '/hints': (response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' }, () => {
      response.writeProcessing();
      response.writeHead(200, html);
      response.end(TEXT);
    });
  },
  '/empty': (response) => response.writeHead(204, { ETag: '"1"' }).end(),
  '/same': (response) => response.writeHead(304, { ETag: '"1"' }).end(),
  '/fields': (response) => {
    const names = ['X-First', '1', 'sEt-CookIe', 'a=1', 'ETag', '"1"', 'Set-Cookie', 'b=2; Path=/', 'Content-Type', 'text/html'];
    const digests = ['Digest', 'SHA-256=x', 'Content-MD5', 'y', 'x-LAST', 'z'];
    response.writeHead(200, [...names, ...digests, 'Content-Length', String(TEXT.length)]).end(TEXT);
  },
  '/untransformed': (response) => response.writeHead(200, { ...html, 'Cache-Control': 'no-transform' }).end(TEXT),
  '/coded': (response) => {
    const body = zlib.gzipSync(TEXT);
    response.writeHead(200, { ...html, 'Content-Encoding': 'gzip', 'Content-Length': body.length }).end(body);
  },
  '/text': (response) => response.writeHead(200, { ...html, 'Content-Length': TEXT.length }).end(TEXT),
};

http
  .createServer((request, response) => {
    const answer = answers[request.url];
    if (answer) answer(response);
    else response.writeHead(404, { 'Content-Length': 0 }).end();
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
