/**
 * The target of a request as the kubelet's Go net/http parses it: server, mux and query parser. All functions here work
 * on the bytes of the request line. Node.js passes them as a string with one character per byte, and these functions
 * preserve that, because a name may contain any bytes.
 */
export type KubeletTarget =
  /** A path outside the kubelet's endpoint. */
  | { readonly kind: 'elsewhere' }
  /** An invalid percent escape. */
  | { readonly kind: 'malformed' }
  | { readonly kind: 'redirect'; readonly location: string }
  /** A path under the endpoint; `segments` follow `/checkpoint`. */
  | { readonly kind: 'endpoint'; readonly segments: readonly string[]; readonly query: string }

const ROOT = 'checkpoint'

/** Parses a request target. `/checkpoint` redirects to `/checkpoint/` only while the endpoint is served. */
export function readKubeletTarget(url: string, options: { readonly isServed: boolean }): KubeletTarget {
  const { rawPath, query } = splitTarget(url)
  const decoded = unescapePath(rawPath)
  if (decoded === undefined) return { kind: firstSegment(cleanPath(rawPath)) === ROOT ? 'malformed' : 'elsewhere' }

  const escaped = isValidPath(rawPath) ? rawPath : escapePath(decoded)
  const clean = cleanPath(escaped)
  if (firstSegment(escaped) !== ROOT && firstSegment(clean) !== ROOT) return { kind: 'elsewhere' }

  if (options.isServed && unescapePath(clean) === `/${ROOT}`) return redirectTo(cleanPath(`${decoded}/`), query)
  // Go treats the escaped path as decoded here and escapes its "%" again.
  if (clean !== escaped) return redirectTo(clean, query)

  const segments = trimOf(decoded, '/').split('/').slice(1)
  return { kind: 'endpoint', segments, query }
}

/** Parameters that Go's query parser accepts; with more, it returns none at all. */
const MAX_PARAMETERS = 10_000

/** Returns the values of one parameter, in order. Ignores pairs with an invalid escape or a semicolon. */
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

/** Trims a character from both ends. A regular expression would take quadratic time for a long run of it. */
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

/** Cleans a path like Go's cleanPath: resolves dots and double slashes, keeps a trailing slash. */
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

/** Tells whether a path needs no further escaping in a URL. */
function isValidPath(path: string): boolean {
  return /^[A-Za-z0-9\-_.~$&+,/:;=@!'()*[\]%]*$/.test(path)
}

function escapePath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-_.~$&+,/:;=@]/g, (byte) => {
    return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  })
}
