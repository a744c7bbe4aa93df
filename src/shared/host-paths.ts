/** Devices, the kernel's own files, CRIU's settings, CRI-O's socket and storage are the same everywhere; so is the API. */
const KNOWN_EVERYWHERE = /^\/(?:dev|proc|sys|etc\/criu|run\/crio|var\/lib\/containers\/storage|v1)\//

// Each reads a character once, whatever stands behind it: what is a path of more than one part is looked at afterwards.
const QUOTED = /(["'`])(\/[^"'`\n]*)\1/g
const BARE = /(?<=^|[\s"'`([{=,:<])(?<!https?:)\/[^\s"'`:,;()[\]{}<>]*/gm

/** A lone part, such as `/tmp`, says nothing of the node. */
const SEVERAL_PARTS = /^\/+[^/]+\//

/**
 * Text of runtimes and of the system for those who ask over the network: of a path of the node it keeps the last part,
 * which is enough to find it for who may look there. The log has it whole.
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
