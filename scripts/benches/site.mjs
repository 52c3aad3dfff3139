// A small page, and /page with 70 scripts of 4 kB. Prints its port.
import http from 'node:http'

const SCRIPT = Buffer.from(`void 0 //${'x'.repeat(4000)}`)
const SMALL = Buffer.from('<!doctype html><title>Small</title><h1>Small</h1><p>Some text.</p>')
const PAGE = Buffer.from(
  '<!doctype html><title>Scripts</title>' +
    Array.from({ length: 70 }, (_, number) => `<script async src=/${number}.js></script>`).join(''),
)

const server = http.createServer((request, response) => {
  const script = request.url.endsWith('.js')
  const body = script ? SCRIPT : request.url.startsWith('/page') ? PAGE : SMALL
  const type = script ? 'text/javascript' : 'text/html'
  response.writeHead(200, { 'content-type': type, 'content-length': body.length, 'cache-control': 'no-store' })
  response.end(body)
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
