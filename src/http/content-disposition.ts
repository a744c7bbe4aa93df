/** Colons are left out too: GNU tar takes `host:file` for a file on another machine. */
const UNSAFE = /[^A-Za-z0-9._@+=,~-]/g

/** RFC 8187: what may stand in `filename*` as it is. */
const ESCAPED = /['()*]/g

/**
 * `attachment` with a name that is safe to save under, whatever it was on the node (RFC 6266). The second form keeps
 * letters of other scripts.
 */
export function attachment(fileName: string): string {
  const readable = asPlainFile(fileName.replaceAll(/[:\\/"\p{C}\p{Z}]/gu, '-'))
  const plain = asPlainFile(fileName.replaceAll(UNSAFE, '-'))
  if (plain === readable) return `attachment; filename="${plain}"`
  return `attachment; filename="${plain}"; filename*=UTF-8''${encodeName(readable)}`
}

/** No hidden file, and nothing that a program could take for an option. */
function asPlainFile(name: string): string {
  return name.replace(/^[.-]+/, '_') || '_'
}

function encodeName(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replaceAll(
    ESCAPED,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
