import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cluster } from './cluster-harness.ts'

export const ROOT = join(import.meta.dirname, '../..')

/** What a chart is told to run the image that `loadAgentImage` has put onto both nodes. */
export const AGENT_IMAGE = { repository: 'localhost/checkpoint-agent', tag: 'dev', pullPolicy: 'Never' }

/** The image of the working tree, onto both nodes. Once for each state of its sources in a cluster's life, since it takes a minute. */
export async function loadAgentImage(): Promise<void> {
  const stamp = join(await cluster.folder(), 'images/checkpoint-agent.sha256')
  const digest = digestOfSources()
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return
  const folder = mkdtempSync(join(tmpdir(), 'checkpoint-agent-image-'))
  try {
    const archive = join(folder, 'image.tar')
    const command = ['--no-print-directory', 'image', `OUT=${archive}`]
    execFileSync('make', command, { cwd: ROOT, stdio: 'inherit' })
    await cluster.loadImages(archive)
  } finally {
    rmSync(folder, { recursive: true })
  }
  writeFileSync(stamp, digest)
}

/** The Dockerfile, and what .dockerignore lets into the build. */
function digestOfSources(): string {
  const named = readFileSync(join(ROOT, '.dockerignore'), 'utf8').match(/(?<=^!).+$/gm) ?? []
  const found = named.flatMap((name) => [name, ...globSync(`${name}/**/*`, { cwd: ROOT })])
  const files = found.filter((name) => statSync(join(ROOT, name)).isFile())
  const hash = createHash('sha256')
  for (const name of ['Dockerfile', ...files].toSorted()) {
    const content = readFileSync(join(ROOT, name))
    hash.update(`${name}\n${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}
