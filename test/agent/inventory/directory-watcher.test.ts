import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DirectoryWatcher } from '../../../src/agent/inventory/directory-watcher.ts'
import { recordingLogger } from '../../support/test-agent.ts'

let root: string
let directory: string
let watcher: DirectoryWatcher
let changes: (string | undefined)[]
let logger: ReturnType<typeof recordingLogger>

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'directory-watcher-'))
  directory = join(root, 'checkpoints')
})

afterEach(async () => {
  await watcher.close()
  rmSync(root, { recursive: true })
})

function startWatching(): void {
  changes = []
  logger = recordingLogger()
  watcher = new DirectoryWatcher({ directory, logger, onChange: (name) => void changes.push(name) })
}

/** That it stands is told as a change of everything. */
async function watching(): Promise<void> {
  startWatching()
  await expect.poll(() => changes).toContain(undefined)
}

const write = (name: string) => {
  writeFileSync(join(directory, name), '')
}

describe('DirectoryWatcher', () => {
  it('names what changes', async () => {
    mkdirSync(directory)
    await watching()
    write('a.tar')
    await expect.poll(() => changes).toContain('a.tar')
    rmSync(join(directory, 'a.tar'))
    const before = changes.length
    await expect.poll(() => changes.length).toBeGreaterThan(before)
  })

  it('says that a folder is not there, and watches it once it is', async () => {
    startWatching()
    expect(watcher.error).toBe('it is not there')
    mkdirSync(directory)
    watcher.retry()
    expect(watcher.error).toBeUndefined()
    await expect.poll(() => changes).toContain(undefined)
    write('a.tar')
    await expect.poll(() => changes).toContain('a.tar')
  })

  it.each([
    { what: 'removed', take: (path: string) => rmSync(path, { recursive: true }) },
    { what: 'renamed', take: (path: string) => renameSync(path, `${path}-old`) },
  ])('watches the folder that takes the place of one that was $what', async ({ take }) => {
    mkdirSync(directory)
    await watching()
    take(directory)
    await sleep(50)
    mkdirSync(directory)
    watcher.retry()
    expect(watcher.error).toBeUndefined()
    await sleep(100)
    write('b.tar')
    await expect.poll(() => changes).toContain('b.tar')
  })

  it('notices by itself that its folder is gone', async () => {
    mkdirSync(directory)
    await watching()
    rmSync(directory, { recursive: true })
    await expect.poll(() => watcher.error).toBe('it is not there')
    expect(logger.lines).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ level: 'warn', message: expect.stringContaining('Cannot watch') }),
      ]) as object,
    )
  })
})
