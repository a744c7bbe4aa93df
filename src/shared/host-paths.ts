/** Devices, the kernel's own files and CRIU's settings are the same on every node. */
const KNOWN_EVERYWHERE = /^\/(?:dev|proc|sys|etc\/criu)\//

const QUOTED = /(["'`])(\/+(?:[^"'`\n/]*\/)+[^"'`\n/]*)\1/g
const BARE = /(?<=^|[\s"'`([{=,:<])(?<!https?:)\/+(?:[^\s"'`:,;()[\]{}<>/]+\/)+[^\s"'`:,;()[\]{}<>/]*/gm

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
  if (KNOWN_EVERYWHERE.test(path)) return path
  const parts = path.split('/').filter((part) => part !== '')
  return `…/${parts.at(-1) ?? ''}`
}
