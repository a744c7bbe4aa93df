import { lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { lockDirectory } from '../../src/agent/directory/directory-lock.ts'
import { assertSafeDirectory } from '../../src/agent/directory/safe-directory.ts'
import { DemoError } from './demo-mode.ts'

/** The demo's own: the agent's configuration, its log, its database and its unix socket. */
export interface DemoFolder {
  readonly path: string
  remove(): void
}

const PREFIX = 'checkpoint-agent-demo-'

/** Written under the lock, so that a folder which another demo is only just making is not taken for a dead one. */
const MARK = 'demo'

/** Also removes what demos that were killed have left. Throws a DemoError when there is no place for it. */
export function makeDemoFolder(): DemoFolder {
  const place = findPlace()
  removeDeadFolders(place)
  const path = mkdtempSync(join(place, PREFIX))
  const lock = lockDirectory(path)
  writeFileSync(join(path, MARK), `of process ${process.pid}\n`)
  return {
    path,
    remove() {
      rmSync(path, { recursive: true, force: true })
      lock.release()
    },
  }
}

/** The kernel drops the lock of a demo with its process, however that ends; a folder that nobody locks is a dead one's. */
function removeDeadFolders(place: string): void {
  for (const name of readdirSync(place).filter((each) => each.startsWith(PREFIX))) {
    const path = join(place, name)
    if (!isOurs(path)) continue
    try {
      const lock = lockDirectory(path)
      rmSync(path, { recursive: true, force: true })
      lock.release()
    } catch {
      // a demo that runs, or one that somebody else is removing
    }
  }
}

function isOurs(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats?.isDirectory() !== true || stats.uid !== process.getuid?.()) return false
  return lstatSync(join(path, MARK), { throwIfNoEntry: false }) !== undefined
}

/** The shortest limit that a system sets for the path of a unix socket is 103 bytes; the agent binds one 8 longer. */
const MAX_FOLDER_BYTES = 103 - 8 - '/runtime.sock'.length

/** The agent takes no checkpoint in a place where others could swap a folder on the way. */
function findPlace(): string {
  let refusal: unknown
  for (const place of [tmpdir(), '/tmp', '/var/tmp']) {
    if (Buffer.byteLength(join(place, `${PREFIX}XXXXXX`)) > MAX_FOLDER_BYTES) continue
    try {
      assertSafeDirectory(place)
      return place
    } catch (error) {
      refusal = error
    }
  }
  throw new DemoError(
    `Cannot make a folder for the demo in "${tmpdir()}", "/tmp" or "/var/tmp": ${refusal instanceof Error ? refusal.message : 'the paths are too long'}`,
  )
}
