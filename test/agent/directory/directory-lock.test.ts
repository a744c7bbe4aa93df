import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lockDirectories, lockDirectory } from '../../../src/agent/directory/directory-lock.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'
import { asOrdinaryUser } from '../../support/ordinary-user.ts'

let root: string
let holder: ChildProcess | undefined

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'directory-lock-'))
})

afterEach(() => {
  holder?.kill('SIGKILL')
  holder = undefined
  chmodSync(root, 0o700)
  rmSync(root, { recursive: true })
})

const LOCK_MODULE = join(import.meta.dirname, '../../../src/agent/directory/directory-lock.ts')

/** Another process that locks and then does nothing more. */
async function startHolder(): Promise<ChildProcess> {
  const program = `
    const { lockDirectory } = await import(${JSON.stringify(LOCK_MODULE)})
    globalThis.lock = lockDirectory(${JSON.stringify(root)})
    process.stdout.write('locked')
    setInterval(() => {}, 60_000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  holder = child
  if (child.stdout === null) throw new Error('the other process has no output')
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  expect(said.toString()).toBe('locked')
  return child
}

describe('lockDirectory', () => {
  it('holds off a second one in the same process, until it is released', () => {
    const lock = lockDirectory(root)
    expect(failureOf(() => lockDirectory(root))).toMatchObject({ code: 'DirectoryLocked' })
    lock.release()
    lockDirectory(root).release()
  })

  it('is held against another process, and gone with it, however it ends', async () => {
    const other = await startHolder()
    const error = failureOf(() => lockDirectory(root))
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({
      code: 'DirectoryLocked',
      message: `Cannot use the checkpoint directory: another checkpoint-agent holds "${root}/lock"`,
      hint: expect.stringContaining('checkpoints.directory'),
    })
    const ended = once(other, 'exit')
    other.kill('SIGKILL')
    await ended
    lockDirectory(root).release()
  })

  it('says which directory is meant, and how to get out of the way', () => {
    const lock = lockDirectory(root, 'state.directory')
    expect(failureOf(() => lockDirectory(root, 'state.directory'))).toMatchObject({
      code: 'DirectoryLocked',
      message: `Cannot use the state directory: another checkpoint-agent holds "${root}/lock"`,
      hint: expect.stringMatching(/checkpoints\.directory and state\.directory/) as string,
    })
    lock.release()
  })

  it('says so where something else has the name of the lock', () => {
    mkdirSync(join(root, 'lock'))
    expect(failureOf(() => lockDirectory(root))).toMatchObject({
      code: 'LocationNotWritable',
      hint: expect.stringContaining('may be removed') as string,
    })
  })

  it('does not mistake a folder that it cannot write for one that is held', () => {
    const error = asOrdinaryUser([root], () => {
      chmodSync(root, 0o500)
      return failureOf(() => lockDirectory(root))
    })
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({ code: 'LocationNotWritable' })
  })
})

describe('lockDirectories', () => {
  it('locks both or neither', () => {
    const [staging, state] = [join(root, 'staging'), join(root, 'state')]
    mkdirSync(staging)
    mkdirSync(state)
    const other = lockDirectory(state, 'state.directory')
    expect(failureOf(() => lockDirectories({ staging, state }))).toMatchObject({ code: 'DirectoryLocked' })
    lockDirectory(staging).release()
    other.release()
    const both = lockDirectories({ staging, state })
    expect(failureOf(() => lockDirectory(staging))).toMatchObject({ code: 'DirectoryLocked' })
    expect(failureOf(() => lockDirectory(state))).toMatchObject({ code: 'DirectoryLocked' })
    both.release()
    lockDirectories({ staging, state }).release()
  })
})

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}
