/** Characters replaced in plain file names. Colons are included because GNU tar reads `host:file` as a remote file. */
const UNSAFE = /[^A-Za-z0-9._@+=,~-]/g

/** Characters that `encodeURIComponent` keeps but `filename*` must escape (RFC 8187). */
const ESCAPED = /['()*]/g

/**
 * Returns an `attachment` disposition with a file name that is safe to save under (RFC 6266). `filename*` keeps letters
 * of other scripts.
 */
export function attachment(fileName: string): string {
  const readable = asPlainFile(fileName.replaceAll(/[:\\/"\p{C}\p{Z}]/gu, '-'))
  const plain = asPlainFile(fileName.replaceAll(UNSAFE, '-'))
  if (plain === readable) return `attachment; filename="${plain}"`
  return `attachment; filename="${plain}"; filename*=UTF-8''${encodeName(readable)}`
}

/** Prevents hidden files and names that a program could read as an option. */
function asPlainFile(name: string): string {
  return name.replace(/^[.-]+/, '_') || '_'
}

function encodeName(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replaceAll(
    ESCAPED,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
