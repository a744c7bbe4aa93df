import type { FrontProxy } from './client-authorities.ts'
import type { Credentials } from './credentials.ts'
import type { Principal } from './principal.ts'

type Headers = Credentials['headers']

/** Reads the user that a trusted proxy speaks for; undefined if it names none. */
export function readFrontProxyHeaders(headers: Headers, proxy: FrontProxy): Principal | undefined {
  const users = proxy.userHeaders.map((name) => valuesOf(headers, name)).find((values) => values.length > 0)
  // With two users, one of them came from the proxy's own caller.
  if (users?.length !== 1 || users[0] === undefined || users[0] === '') return undefined
  const extra = readExtra(headers, proxy.extraPrefixes)
  return {
    user: users[0],
    groups: proxy.groupHeaders.flatMap((name) => valuesOf(headers, name)),
    ...(Object.keys(extra).length > 0 && { extra }),
  }
}

function readExtra(headers: Headers, prefixes: readonly string[]): Record<string, readonly string[]> {
  const extra: Record<string, readonly string[]> = Object.create(null) as Record<string, readonly string[]>
  for (const prefix of prefixes.map((text) => text.toLowerCase())) {
    for (const name of Object.keys(headers)) {
      if (prefix === '' || !name.startsWith(prefix)) continue
      const key = unescapeKey(name.slice(prefix.length))
      extra[key] = [...(extra[key] ?? []), ...valuesOf(headers, name)]
    }
  }
  return { ...extra }
}

function valuesOf(headers: Headers, name: string): string[] {
  // Node.js decodes headers as Latin-1, but names are UTF-8.
  return (headers[name.toLowerCase()] ?? []).map((value) => Buffer.from(value, 'latin1').toString('utf8'))
}

/**
 * Decodes an escaped key. Header names cannot hold every character, so the proxy escapes the
 * others.
 */
function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key)
  } catch {
    return key
  }
}
