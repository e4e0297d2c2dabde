// node examples/report.js PORT FOLDER: a server of text files that knows nothing of compression.
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');

const [port, folder] = process.argv.slice(2);

http
  .createServer((request, response) => {
    fs.readFile(path.join(folder, path.basename(request.url)), (error, text) => {
      response.writeHead(error ? 404 : 200, { 'Content-Type': 'text/plain' });
      response.end(error ? 'no such file\n' : text);
    });
  })
  .listen(Number(port), '127.0.0.1');
