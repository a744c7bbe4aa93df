import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')

/** What `npm run build` made, unless the sources are newer or it is not there: then the sources, which run as they stand. */
export function findAgentProgram(): string {
  const built = join(ROOT, 'dist/main.js')
  const source = join(ROOT, 'src/main.ts')
  const builtAt = changedAt(built)
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  const isCurrent =
    builtAt !== undefined && sources.every((path) => (changedAt(join(ROOT, 'src', path)) ?? 0) <= builtAt)
  return isCurrent ? built : source
}

function changedAt(path: string): number | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats?.isFile() === true ? stats.mtimeMs : undefined
}
