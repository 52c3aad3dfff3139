// A page of 100 small and 10 large resources, and 500 MB, over HTTP/1.1, HTTPS with HTTP/1.1, and HTTP/2.
// Arguments: key and certificate (PEM files). Prints the three ports.
import fs from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'

const SMALL = Buffer.from('/*' + ' '.repeat(2000) + '*/')
const LARGE = Buffer.from('/*' + ' '.repeat(300_000) + '*/')
const PIECE = Buffer.alloc(1 << 20)
const PIECES = 500
const resources = [
  ...Array.from({ length: 100 }, (_, i) => `/small/${i}.js`),
  ...Array.from({ length: 10 }, (_, i) => `/large/${i}.js`),
]
const PAGE = Buffer.from(
  '<!doctype html><title>Many</title>' + resources.map((path) => `<script async src="${path}"></script>`).join(''),
)

function answer(request, response) {
  const script = { 'content-type': 'text/javascript', 'cache-control': 'no-store' }
  const path = request.url
  if (path.startsWith('/small')) response.writeHead(200, { ...script, 'content-length': SMALL.length }).end(SMALL)
  else if (path.startsWith('/large')) response.writeHead(200, { ...script, 'content-length': LARGE.length }).end(LARGE)
  else if (path === '/big') {
    response.writeHead(200, { 'content-length': PIECE.length * PIECES, 'cache-control': 'no-store' })
    let left = PIECES
    const more = () => {
      while (left-- > 0) if (!response.write(PIECE)) return response.once('drain', more)
      response.end()
    }
    more()
  } else response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end(PAGE)
}

const [, , key, cert] = process.argv
const tls = { key: fs.readFileSync(key), cert: fs.readFileSync(cert) }
const servers = [http.createServer(answer), https.createServer(tls, answer), http2.createSecureServer(tls, answer)]
const ports = await Promise.all(
  servers.map((server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)))),
)
console.log(ports.join(' '))
