import { createHash, randomBytes } from 'node:crypto'
import {
  appendFileSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generationOf } from '../../../src/checkpoint/generation.ts'
import type { HashRequest } from '../../../src/agent/hashing/hash-order.ts'
import { HashQueue } from '../../../src/agent/hashing/hash-queue.ts'

const MIB = 1024 * 1024

let folder: string
let queue: HashQueue

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hash-queue-'))
  queue = new HashQueue()
})

afterEach(async () => {
  await queue.close()
  rmSync(folder, { recursive: true })
})

function file(name: string, bytes: Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

/** Without bytes, and many seconds' work. */
function largeFile(): string {
  const path = file('large', Buffer.alloc(0))
  truncateSync(path, 64 * 1024 * MIB)
  return path
}

const orderOf = (path: string): HashRequest => ({
  path: Buffer.from(path),
  generation: generationOf(lstatSync(path, { bigint: true })),
})

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('HashQueue', () => {
  it.each([0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 7])('hashes a file of %i bytes', async (size) => {
    const bytes = randomBytes(size)
    expect(await queue.hash(orderOf(file('a', bytes)))).toEqual({ kind: 'done', sha256: sha256(bytes) })
  })

  it('hashes what it was given, one after the other', async () => {
    const contents = Array.from({ length: 20 }, (_, index) => Buffer.alloc(1000 * index, index))
    const orders = contents.map((bytes, index) => orderOf(file(`file-${index}`, bytes)))
    const answers = orders.map((order) => queue.hash(order))
    expect(queue.length).toBe(20)
    expect(await Promise.all(answers)).toEqual(contents.map((bytes) => ({ kind: 'done', sha256: sha256(bytes) })))
    expect(queue.length).toBe(0)
  })

  it.each([
    { what: 'has grown', change: (path: string) => appendFileSync(path, 'more') },
    { what: 'is gone', change: (path: string) => rmSync(path) },
    {
      what: 'became a link',
      change: (path: string) => {
        rmSync(path)
        symlinkSync('/etc/passwd', path)
      },
    },
  ])('says that a file $what', async ({ change }) => {
    const path = file('a', randomBytes(100))
    const order = orderOf(path)
    change(path)
    expect(await queue.hash(order)).toEqual({ kind: 'changed' })
  })

  it('says why a file cannot be read', async () => {
    const order = { path: Buffer.from(folder), generation: generationOf(lstatSync(folder, { bigint: true })) }
    expect(await queue.hash(order)).toEqual({ kind: 'failed', code: 'EISDIR' })
  })

  it('works at the lowest priority, in a thread of its own alone', async (context) => {
    if (process.platform !== 'linux') context.skip('only Linux tells the priority of each thread')
    const path = file('a', Buffer.alloc(256 * MIB))
    const hashed = queue.hash(orderOf(path))
    await expect.poll(priorities, { interval: 5 }).toContain(19)
    expect(priorities().filter((nice) => nice === 19)).toHaveLength(1)
    expect(priorities()[0]).toBe(0)
    // A busy machine has no time at all for it.
    await queue.close()
    await hashed
  })

  it('does not let a small file wait for a giant', async () => {
    const giant = queue.hash(orderOf(largeFile()))
    const bytes = randomBytes(1000)
    expect(await queue.hash(orderOf(file('small', bytes)))).toEqual({ kind: 'done', sha256: sha256(bytes) })
    expect(queue.length).toBe(1)
    await queue.close()
    expect(await giant).toEqual({ kind: 'stopped' })
  })

  it('gives up a large file that is removed meanwhile, so that its room on the disk comes back', async () => {
    const path = largeFile()
    const hashed = queue.hash(orderOf(path))
    await sleep(300)
    rmSync(path)
    expect(await hashed).toEqual({ kind: 'changed' })
  })

  it('stops in the middle of a large file when it is closed', async () => {
    const path = largeFile()
    const [first, second] = [queue.hash(orderOf(path)), queue.hash(orderOf(path))]
    await sleep(300)
    const begun = performance.now()
    await queue.close()
    expect(await Promise.all([first, second])).toEqual([{ kind: 'stopped' }, { kind: 'stopped' }])
    expect(performance.now() - begun).toBeLessThan(5_000)
    expect(await queue.hash(orderOf(path))).toEqual({ kind: 'stopped' })
  })
})

/** Of each thread of this process; the main one first. */
function priorities(): number[] {
  const nices: number[] = []
  for (const thread of readdirSync('/proc/self/task')) {
    try {
      const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8')
      // Behind the name, which may hold anything: the 17th field from there.
      nices.push(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]))
    } catch {
      // It has ended meanwhile.
    }
  }
  return nices
}
