import type { Random } from './random.ts'

/** What makes a request wrong, and its bytes as latin1 text. */
export interface MalformedRequest {
  readonly defect: string
  readonly bytes: string
}

/** Where the ids are those of archives that are there. */
export interface Targets {
  readonly ids: readonly string[]
}

type Make = (random: Random, targets: Targets) => string

/** Each is wrong in its own way whatever the random values are. */
const DEFECTS: Readonly<Record<string, Make>> = {
  'a path with broken escapes': (random, targets) =>
    get(`${anyRoute(random, targets)}/%${random.pick(['', '0', 'g1', '%2', 'zz', 'u0041'])}`),
  'a path of random bytes': (random) => get(`/v1/${random.text(1, 200, PATH_BYTES)}`),
  'an id that is none': (random) => get(`/v1/checkpoints/${random.text(1, 40, ID_BYTES)}!/${random.pick(PARTS)}`),
  'a path that climbs': (random, targets) =>
    get(`/v1/checkpoints/${random.pick(targets.ids)}/members/${'../'.repeat(random.between(1, 40))}etc/passwd`),
  'an encoded path that climbs': (random, targets) =>
    get(`/v1/checkpoints/${random.pick(targets.ids)}/members/${'%2e%2e%2f'.repeat(random.between(1, 40))}etc%2Fshadow`),
  'a member with a zero byte': (random, targets) =>
    get(`/v1/checkpoints/${random.pick(targets.ids)}/members/%00${random.text(0, 20, ID_BYTES)}`),
  'an unknown parameter': (random, targets) =>
    get(
      `${random.pick(['/v1/checkpoints', '/v1/captures', `/v1/checkpoints/${random.pick(targets.ids)}/members`])}?x${random.text(1, 9, ID_BYTES)}=1`,
    ),
  'a parameter of the wrong kind': (random) =>
    get(
      `/v1/checkpoints?${random.pick(['limit', 'minBytes', 'takenAfter', 'sort', 'state', 'pinned', 'continue'])}=${random.text(1, 60, PATH_BYTES)}%FF`,
    ),
  'a parameter twice': () => get('/v1/checkpoints?limit=1&limit=2'),
  'a recipient that is none': (random, targets) =>
    get(`/v1/checkpoints/${random.pick(targets.ids)}/archive?recipient=age1${random.text(0, 80, ID_BYTES)}`),
  'a range behind the end': (random, targets) =>
    get(archive(random, targets), [`Range: bytes=${String(random.between(1e12, 1e15))}-`]),
  'a method that is not there': (random, targets) =>
    request(random.pick(['PATCH', 'POST', 'PUT', 'OPTIONS', 'TRACE', 'PROPFIND']), archive(random, targets), []),
  'JSON that is cut': (random) => post('/v1/captures', '{"namespace":"shop","pod":"we'.slice(0, random.between(1, 29))),
  'JSON of random bytes': (random) => post('/v1/captures', random.text(1, 400, ALL_BYTES)),
  'JSON that is deep': (random) => post('/v1/captures', '['.repeat(random.between(100, 50_000))),
  'JSON of the wrong shape': (random) =>
    post(
      '/v1/captures',
      JSON.stringify({ namespace: random.pick([1, null, [], {}, '', '../x']), pod: random.between(0, 9) }),
    ),
  'JSON with a key of the prototype': () =>
    post('/v1/captures', '{"__proto__":{"x":1},"constructor":{"prototype":{}}}'),
  'a body that is too large': () => post('/v1/captures', JSON.stringify({ namespace: 'x'.repeat(200_000) })),
  'a body in another encoding': (random) =>
    post('/v1/captures', random.text(1, 100, ALL_BYTES), [
      `Content-Encoding: ${random.pick(['gzip', 'br', 'deflate', 'x'])}`,
    ]),
  'a body of another type': (random) =>
    request(
      'POST',
      '/v1/captures',
      [`Content-Type: ${random.pick(['text/xml', 'multipart/form-data', ';', 'application/json; charset=utf-99'])}`],
      '{}',
    ),
  'a precondition that is none': (random, targets) =>
    request('DELETE', `/v1/checkpoints/${random.pick(targets.ids)}`, [`If-Match: "${random.text(1, 64, ID_BYTES)}"`]),
  'a header without a colon': (random) => get('/v1/node', [random.text(1, 40, ID_BYTES)]),
  'a header with a control byte': (random) => get('/v1/node', [`X-A: a${random.pick(['\0', '\u0001', '\u007F'])}b`]),
  'headers that are too large': (random) => get('/v1/node', [`X-A: ${'a'.repeat(random.between(70_000, 90_000))}`]),
  'a path that is too long': (random) => get(`/v1/${'a'.repeat(random.between(70_000, 90_000))}`),
  'two lengths': () => request('POST', '/v1/captures', ['Content-Length: 3', 'Content-Length: 4'], '{}'),
  'a length and chunks': () =>
    request('POST', '/v1/captures', ['Transfer-Encoding: chunked', 'Content-Length: 4'], '0\r\n\r\n'),
  'a chunk of no size': (random) =>
    request(
      'POST',
      '/v1/captures',
      ['Transfer-Encoding: chunked', 'Content-Type: application/json'],
      `${random.text(1, 9, 'ghxyz-')}\r\n`,
    ),
  'another protocol': (random) => `${random.text(1, 300, ALL_BYTES)}\r\n\r\n`,
  'a TLS greeting': (random) =>
    `\u0016\u0003\u0001\u0002\0\u0001\0\u0001\u00FC\u0003\u0003${random.text(32, 300, ALL_BYTES)}`,
  'another version': (random) => `GET /v1/node HTTP/${random.pick(['3.0', '9', '1.10', 'x'])}\r\nHost: a\r\n\r\n`,
  'no host': () => 'GET /v1/node HTTP/1.1\r\n\r\n',
  'a proxy request': (random) => `CONNECT ${random.text(1, 20, ID_BYTES)}:443 HTTP/1.1\r\nHost: a\r\n\r\n`,
  'an upgrade nobody knows': () => get('/v1/nothing', ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']),
  'an event id that is none, for a route that is not there': (random) =>
    get('/v1/watches', [`Last-Event-ID: ${random.text(1, 50, ID_BYTES)}`]),
}

const ID_BYTES = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~'
const PATH_BYTES = `${ID_BYTES}!$&'()*+,;=:@/%[]|^{}<>\\\`"`
const ALL_BYTES = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(byte)).join('')
const PARTS = ['', 'archive', 'members', 'members/x', 'manifest', 'rootfs-diff', 'pin', 'verify', 'nothing']

export function malformedRequest(random: Random, targets: Targets): MalformedRequest {
  const defect = random.pick(Object.keys(DEFECTS))
  return { defect, bytes: DEFECTS[defect]?.(random, targets) ?? '' }
}

function anyRoute(random: Random, { ids }: Targets): string {
  const ofOne = `/v1/checkpoints/${random.pick(ids)}`
  return random.pick(['/v1/checkpoints', '/v1/captures', '/v1/custody', ofOne, `${ofOne}/archive`, `${ofOne}/members`])
}

function archive(random: Random, { ids }: Targets): string {
  return `/v1/checkpoints/${random.pick(ids)}/archive`
}

function get(path: string, headers: readonly string[] = []): string {
  return request('GET', path.replaceAll(/[\s#]/g, '_'), headers)
}

function post(path: string, body: string, headers: readonly string[] = []): string {
  return request(
    'POST',
    path,
    ['Content-Type: application/json', `Content-Length: ${String(body.length)}`, ...headers],
    body,
  )
}

function request(method: string, path: string, headers: readonly string[], body = ''): string {
  return [`${method} ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers, '', body].join('\r\n')
}
