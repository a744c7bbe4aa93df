import { CRASHED, NOT_RUNNING, POD, RUNNING, request, type ComparedRequest } from './agent-request.ts'

export function queries(): ComparedRequest[] {
  const bad = '404 cannot parse value of timeout parameter'
  return [
    ...['18446744074', '36893488148', '18446744073', '18446744073709551615', '18446744073709551616'].map(timeout),
    ...['9223372036', '120', '121', '-121', '%2D1', '1+', '%091', '1%0a', '0b1', '1_000', '1,000', '.5', '5.'].map(
      timeout,
    ),
    ...['5.0', '08', 'NaN', 'Infinity', 'null', '%EF%BC%91', '"5"', '--1', '+-1', '%2B-1', '%23'].map(timeout),
    ...['timeout[]=x', 'timeout%3Dx', ';timeout=x', 'timeout=x;timeout=1', 'a;b&timeout=x', 'timeout=x&;'].map(query),
    ...['timeout=%x&timeout=x', 'timeout=x&timeout=%', 'timeout=x?', '=x', '=timeout', '&&&', 'pretty=true'].map(query),
    ...['timeout=5&timeout', 'timeout&timeout=5', '%74imeout=x', 'timeout=5?timeout=x', 'timeout=5m0s'].map(query),
    request('query with 9990 parameters', `${CRASHED}?${'a&'.repeat(9990)}timeout=x`),
    request('query with 30000 parameters', `${CRASHED}?${'a&'.repeat(30_000)}timeout=x`),
    request('timeout of 50000 zeros and a 5', `${CRASHED}?timeout=${'0'.repeat(50_000)}5`),
    request('timeout of 50000 nines', `${CRASHED}?timeout=${'9'.repeat(50_000)}`),
    ...['x', '-1', '9223372037'].flatMap((seconds) => [
      request(`timeout ${seconds} of no container`, `${POD}/nope?timeout=${seconds}`),
      request(`timeout ${seconds} of no pod`, `/checkpoint/shop/nope/x?timeout=${seconds}`),
    ]),
    // Above 2^64 nanoseconds it wraps around to 100 s, which is enough.
    ...['18446744173', '9223372036', '121', 'x;', '%'].map((seconds) =>
      request(`timeout ${seconds} of a container that runs`, `${RUNNING}?timeout=${seconds}`),
    ),
    ...['18446744073', '36028797018963968'].map((seconds) =>
      request(`timeout ${seconds} of a container that runs`, `${RUNNING}?timeout=${seconds}`),
    ),
    unescaped('timeout=\xc3\xa4', bad),
    unescaped('x=\xff', NOT_RUNNING),
  ]
}

function unescaped(text: string, kubelet: string): ComparedRequest {
  const differs = { in: 'bytes', kubelet, agent: '400 InvalidRequest' } as const
  return request(`query ?${text}`, `${CRASHED}?${text}`, { differs })
}

function timeout(seconds: string): ComparedRequest {
  return query(`timeout=${seconds}`)
}

function query(text: string): ComparedRequest {
  return request(`query ?${text}`, `${CRASHED}?${text}`)
}

export function headerFields(): ComparedRequest[] {
  const accepts = [
    '',
    '  ',
    ',',
    ';',
    'application/json,',
    'text/plain,*/*',
    'APPLICATION/JSON',
    'application/json;v=1',
  ]
  const others = ['json', '*/json', '"application/json"', 'application/json text/plain', 'application /json', 'text/*']
  const ignored = [
    'Content-Type: garbage/',
    'Content-Encoding: gzip',
    'Accept-Encoding: gzip',
    'Accept-Encoding: identity;q=0',
    'Range: bytes=0-1',
    'If-None-Match: *',
    'If-Match: "x"',
    'Cookie: a=b',
    'X-Forwarded-For: 192.0.2.1',
    'Expect: 100-continue',
    'Upgrade: websocket',
    `X-Long: ${'x'.repeat(60_000)}`,
    'X-Latin: \xe4',
  ]
  return [
    ...[...accepts, ...others].map((accept) =>
      request(`accept "${accept}"`, CRASHED, { headers: [`Accept: ${accept}`] }),
    ),
    request('accept, twice', CRASHED, { headers: ['ACCEPT: */*', 'accept: text/plain'] }),
    request('accept, of a method that is not allowed', CRASHED, { method: 'GET', headers: ['Accept: text/plain'] }),
    request('accept, of no route', '/checkpoint/x', { headers: ['Accept: text/plain'] }),
    ...ignored.map((line) => request(`header ${line.slice(0, 40)}`, CRASHED, { headers: [line] })),
    request('header Origin: http://example.org', CRASHED, {
      headers: ['Origin: http://example.org'],
      differs: { in: 'web-page', kubelet: NOT_RUNNING, agent: '403 ForeignOrigin' },
    }),
    request('header of 100000 bytes', CRASHED, {
      headers: [`X-Long: ${'x'.repeat(100_000)}`],
      differs: { in: 'length', kubelet: NOT_RUNNING, agent: '431 HeadersTooLarge' },
    }),
    request('body with a timeout', CRASHED, {
      headers: ['Content-Type: application/x-www-form-urlencoded'],
      body: 'timeout=x',
    }),
    request('body in pieces', CRASHED, { headers: ['Transfer-Encoding: chunked'], body: '5\r\nhello\r\n0\r\n\r\n' }),
    request('body of a GET', CRASHED, { method: 'GET', body: 'x' }),
    request('no credentials', CRASHED, {
      anonymous: true,
      differs: { in: 'credentials', kubelet: '401 Unauthorized', agent: NOT_RUNNING },
    }),
    request('no credentials, and a redirect', '/checkpoint//x', { anonymous: true }),
  ]
}

/** What Go's HTTP and Node's take to be a request differs in corners that no client comes to. */
export function malformedRequests(): ComparedRequest[] {
  const line = `POST ${CRASHED} HTTP/1.1`
  const bare = '400 400 Bad Request'
  const problem = '400 InvalidRequest'
  return [
    { name: 'HTTP/1.0', head: [`POST ${CRASHED} HTTP/1.0`, 'Host: localhost'] },
    { name: 'HTTP/1.0, HEAD', head: [`HEAD ${CRASHED} HTTP/1.0`, 'Host: localhost'] },
    malformed('a path that is none', ['POST checkpoint/shop HTTP/1.1', 'Host: x'], bare, problem),
    malformed('a space in the path', ['POST /checkpoint/a b/c HTTP/1.1', 'Host: x'], bare, problem),
    malformed('a control character', ['POST /checkpoint/\x1b HTTP/1.1', 'Host: x'], bare, problem),
    malformed('no colon', [line, 'Host: x', 'nonsense'], bare, problem),
    malformed('a negative length', [line, 'Host: x', 'Content-Length: -1'], bare, problem),
    malformed('two hosts', [line, 'Host: x', 'Host: y'], bare, problem),
    malformed('two spaces', [`POST  ${CRASHED} HTTP/1.1`, 'Host: localhost'], bare, NOT_RUNNING),
    malformed('a folded header', [line, 'Host: x', 'X-A: b', ' c'], NOT_RUNNING, problem),
    malformed('HTTP/1.2', [`POST ${CRASHED} HTTP/1.2`, 'Host: x'], NOT_RUNNING, problem),
    malformed('no host', [line], '400 400 Bad Request: missing required Host header', problem),
    ...['/checkpoint//\xc3\xa4', `${POD}/\xff`].map((path, at) =>
      request(`bytes in the path, ${at}`, path, {
        differs: {
          in: 'bytes',
          kubelet: at === 0 ? '307 ' : '404 container \ufffd does not exist',
          agent: problem,
        },
      }),
    ),
  ]
}

function malformed(name: string, head: readonly string[], kubelet: string, agent: string): ComparedRequest {
  return { name: `malformed: ${name}`, head, differs: { in: 'malformed', kubelet, agent } }
}
