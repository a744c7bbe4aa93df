/**
 * The target of a request as the kubelet reads it, which is Go's net/http: its server, its mux and its query parser.
 * Everything here works on the bytes of the request line. Node hands them over as a string with one character for
 * each byte, and these functions keep it so: a name may be any bytes.
 */
export type KubeletTarget =
  /** Not a path of the kubelet's endpoint. */
  | { readonly kind: 'elsewhere' }
  /** A percent sign that begins no escape. */
  | { readonly kind: 'malformed' }
  | { readonly kind: 'redirect'; readonly location: string }
  /** `segments` follow `/checkpoint`. */
  | { readonly kind: 'endpoint'; readonly segments: readonly string[]; readonly query: string }

const ROOT = 'checkpoint'

/** Without the endpoint there is no `/checkpoint/` that `/checkpoint` could be redirected to. */
export function readKubeletTarget(url: string, options: { readonly isServed: boolean }): KubeletTarget {
  const { rawPath, query } = splitTarget(url)
  const decoded = unescapePath(rawPath)
  if (decoded === undefined) return { kind: firstSegment(cleanPath(rawPath)) === ROOT ? 'malformed' : 'elsewhere' }

  const escaped = isValidPath(rawPath) ? rawPath : escapePath(decoded)
  const clean = cleanPath(escaped)
  if (firstSegment(escaped) !== ROOT && firstSegment(clean) !== ROOT) return { kind: 'elsewhere' }

  if (options.isServed && unescapePath(clean) === `/${ROOT}`) return redirectTo(cleanPath(`${decoded}/`), query)
  // Go takes the escaped path for a decoded one here, so a "%" in it is escaped again.
  if (clean !== escaped) return redirectTo(clean, query)

  const segments = trimOf(decoded, '/').split('/').slice(1)
  return { kind: 'endpoint', segments, query }
}

/** The most parameters that Go's query parser accepts; beyond that it sees none at all. */
const MAX_PARAMETERS = 10_000

/** The values of one parameter, in order. A pair with a bad escape or a semicolon is as good as absent. */
export function queryValues(query: string, name: string): string[] {
  const pairs = query.split('&')
  if (pairs.length > MAX_PARAMETERS) return []
  return pairs.flatMap((pair) => {
    if (pair === '' || pair.includes(';')) return []
    const equals = pair.indexOf('=')
    const key = unescapeQuery(equals === -1 ? pair : pair.slice(0, equals))
    const value = unescapeQuery(equals === -1 ? '' : pair.slice(equals + 1))
    return key === name && value !== undefined ? [value] : []
  })
}

/** The text without this character at both ends. A regular expression would need quadratic time for a long run of it. */
export function trimOf(text: string, character: string): string {
  let start = 0
  let end = text.length
  while (text[start] === character) start++
  while (end > start && text[end - 1] === character) end--
  return text.slice(start, end)
}

function splitTarget(url: string): { rawPath: string; query: string } {
  const target = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?]*/.exec(url)?.[0]
  const rest = target === undefined ? url : url.slice(target.length)
  const mark = rest.indexOf('?')
  return mark === -1 ? { rawPath: rest, query: '' } : { rawPath: rest.slice(0, mark), query: rest.slice(mark + 1) }
}

function redirectTo(path: string, query: string): KubeletTarget {
  const location = query === '' ? escapePath(path) : `${escapePath(path)}?${query}`
  return { kind: 'redirect', location }
}

/** Go's cleanPath: resolves dots and double slashes, keeps one slash at the end. */
function cleanPath(path: string): string {
  const kept: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  const clean = `/${kept.join('/')}`
  return path.endsWith('/') && clean !== '/' ? `${clean}/` : clean
}

function firstSegment(path: string): string | undefined {
  return unescapePath(path.split('/', 2)[1] ?? '')
}

function unescapePath(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined
  return text.replace(/%[0-9A-Fa-f]{2}/g, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)))
}

function unescapeQuery(text: string): string | undefined {
  return unescapePath(text.replaceAll('+', ' '))
}

/** Whether the path can stand in a URL as it is. */
function isValidPath(path: string): boolean {
  return /^[A-Za-z0-9\-_.~$&+,/:;=@!'()*[\]%]*$/.test(path)
}

function escapePath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-_.~$&+,/:;=@]/g, (byte) => {
    return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  })
}
