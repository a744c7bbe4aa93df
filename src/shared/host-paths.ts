/**
 * Paths that are the same on every node, such as devices and the sockets of CRI-O, and paths of the
 * API.
 */
const KNOWN_EVERYWHERE = /^\/(?:dev|proc|sys|etc\/criu|run\/crio|var\/lib\/containers\/storage|v1)\//

// Patterns that read every character once, whatever follows. Paths with a single part are excluded
// afterwards.
const QUOTED = /(["'`])(\/[^"'`\n]*)\1/g
const BARE = /(?<=^|[\s"'`([{=,:<])(?<!https?:)\/[^\s"'`:,;()[\]{}<>]*/gm

/** A single-part path, such as `/tmp`, reveals nothing about the node. */
const SEVERAL_PARTS = /^\/+[^/]+\//

/**
 * Shortens node paths in runtime and system messages to their last part, for callers on the
 * network. An administrator of the node can still find the file, and the log has the full path.
 */
export function withoutHostPaths(text: string): string {
  return text
    .replace(QUOTED, (_, quote: string, path: string) => `${quote}${shorten(path)}${quote}`)
    .replace(BARE, (path) => shorten(path))
}

function shorten(path: string): string {
  if (!SEVERAL_PARTS.test(path) || KNOWN_EVERYWHERE.test(path)) return path
  let end = path.length
  while (path[end - 1] === '/') end -= 1
  return `…/${path.slice(path.lastIndexOf('/', end - 1) + 1, end)}`
}
