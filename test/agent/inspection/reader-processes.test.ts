import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buffer } from 'node:stream/consumers'
import { constants, createZstdCompress, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SummaryOutcome } from '../../../src/agent/inspection/archive-reader.ts'
import { summarizeArchive } from '../../../src/agent/inspection/archive-summary.ts'
import { readTimes } from '../../../src/agent/inspection/process-figures.ts'
import { ReaderEndedError } from '../../../src/agent/inspection/reader-child.ts'
import { MAX_READERS_BYTES } from '../../../src/agent/inspection/reader-limits.ts'
import type { ReaderProcesses } from '../../../src/agent/inspection/reader-processes.ts'
import { bufferSource } from '../../../src/streams/byte-source.ts'
import { buildArchive } from '../../support/archive-builder.ts'
import { END_OF_TAR, rawHeader, rawMember } from '../../support/raw-tar.ts'
import { isRunning, ReaderDirectory } from '../../support/reader-directory.ts'
import { ENTRY_WITH_HOOK, runInReader, startReaderWithHook } from '../../support/reader-hook.ts'

const never = new AbortController().signal
const archive = Buffer.concat([...buildArchive().chunks()])
let place: ReaderDirectory

beforeEach(() => {
  place = new ReaderDirectory()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
})

async function summarizeAll(readers: ReaderProcesses, names: readonly string[]) {
  const outcomes: SummaryOutcome[] = []
  const files = names.map((name) => place.file(name))
  await readers.summarizeAll(files, (index, outcome) => {
    expect(index).toBe(outcomes.length)
    outcomes.push(outcome)
  })
  return outcomes
}

function kinds(outcomes: readonly SummaryOutcome[]) {
  return outcomes.map((outcome) => outcome.kind)
}

describe('a reader', () => {
  it('answers what the same code answers in process', async () => {
    const file = place.write('a.tar', archive)
    const readers = place.readers()
    expect(await readers.summarize(file, { lane: 'callers' })).toEqual({
      kind: 'summary',
      summary: await summarizeArchive(bufferSource(archive)),
    })
    const list = await readers.listMembers(file, { skip: 1, limit: 2, signal: never })
    expect(list.members).toHaveLength(2)
    const [first] = list.members
    expect(await readers.findMember(file, first?.name ?? '', never)).toEqual({ member: first, compression: 'none' })
    expect(await readers.findMember(file, 'nothing', never)).toBeUndefined()
    expect(await readers.findTarEnd(file)).toMatchObject({ isWhole: true })
    expect(await readers.readRootfsDiff(file, { skip: 0, limit: 5, signal: never })).toMatchObject({ isWhole: true })
  })

  it('sees that the file is another one, is gone, or is none', async () => {
    const file = place.write('a.tar', archive)
    place.write('b.tar', archive)
    symlinkSync('b.tar', join(place.directory, 'link.tar'))
    mkdirSync(join(place.directory, 'folder.tar'))
    const readers = place.readers()
    for (const other of [
      { ...file, generation: '1:2:3' },
      { ...file, path: Buffer.from('gone.tar') },
      { ...place.file('b.tar'), path: Buffer.from('link.tar') },
      place.file('folder.tar'),
    ]) {
      expect(await readers.summarize(other, { lane: 'callers' })).toEqual({ kind: 'changed' })
      await expect(readers.listMembers(other, { skip: 0, limit: 1, signal: never })).rejects.toMatchObject({
        code: 'CheckpointChanged',
      })
      expect(await readers.findTarEnd(other)).toMatchObject({ kind: 'cannot-tell' })
    }
  })

  it('reads one that grows up to where it was seen', async () => {
    place.write('a.tar', archive.subarray(0, archive.length / 2))
    const seen = place.file('a.tar')
    writeFileSync(join(place.directory, 'a.tar'), archive)
    const readers = place.readers()
    expect(await readers.summarize(seen, { lane: 'index' })).toEqual({ kind: 'changed' })
    expect(await readers.summarize({ ...seen, mayGrow: true }, { lane: 'index' })).toMatchObject({
      summary: { state: 'incomplete' },
    })
  })

  it('gives pages of a bounded size, whatever the limit', async () => {
    const headers = Array.from({ length: 12_000 }, (_, index) => rawHeader({ name: `${index}`.padEnd(99, 'x') }))
    const file = place.write('a.tar', Buffer.concat([...headers, END_OF_TAR]))
    const list = await place.readers().listMembers(file, { skip: 0, limit: 1_000_000, signal: never })
    expect(Buffer.byteLength(JSON.stringify(list.members))).toBeLessThan(1024 * 1024)
    expect(list.members.length).toBeGreaterThan(1000)
    expect(list.members.length + list.remaining).toBe(12_000)
  })

  it('for the index gives way to everything else', async () => {
    place.write('a.tar', archive)
    const readers = place.readers()
    await readers.summarize(place.file('a.tar'), { lane: 'index' })
    const [pid = 0] = readers.pids
    const threads = readdirSync(`/proc/${pid}/task`).map(Number)
    expect(threads.length).toBeGreaterThan(1)
    expect(threads.map((thread) => getPriority(thread))).toEqual(threads.map(() => 10))
  })

  it('is gone after a rest, and there again when it is needed', async () => {
    place.write('a.tar', archive)
    const readers = place.readers({ restMs: 50 })
    readers.warm()
    expect(readers.pids).toHaveLength(1)
    await expect.poll(() => readers.pids).toEqual([])
    expect(kinds(await summarizeAll(readers, ['a.tar']))).toEqual(['summary'])
    await expect.poll(() => readers.pids).toEqual([])
    expect(readdirSync(join(place.stateDirectory, 'readers'))).toEqual([])
  })

  it('lets a caller go who leaves', async () => {
    const unpacked = Buffer.concat([
      ...Array.from({ length: 60_000 }, (_, i) => rawHeader({ name: `${i}` })),
      END_OF_TAR,
    ])
    const file = place.write('a.tar', gzipSync(unpacked, { level: 1 }))
    const readers = place.readers()
    const leaving = new AbortController()
    const listing = readers.listMembers(file, { skip: 0, limit: 1, signal: leaving.signal })
    const waiting = readers.listMembers(file, { skip: 0, limit: 1, signal: leaving.signal })
    const waitingInVain = readers.listMembers(file, { skip: 0, limit: 1, signal: leaving.signal })
    setTimeout(() => leaving.abort(new Error('left')), 100)
    const all = await Promise.allSettled([listing, waiting, waitingInVain])
    expect(all.map((each) => each.status === 'rejected' && String(each.reason))).toEqual(all.map(() => 'Error: left'))
    place.write('b.tar', archive)
    expect(await readers.summarize(place.file('b.tar'), { lane: 'callers' })).toMatchObject({ kind: 'summary' })
  })
})

function killAll({ pids }: ReaderProcesses): number {
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  return pids.length
}

describe('a reader that somebody ends', () => {
  it('is begun again: every archive gets its answer', async () => {
    const names = Array.from({ length: 200 }, (_, index) => `${index}.tar`)
    for (const name of names) place.write(name, archive)
    const readers = place.readers()
    const running = summarizeAll(readers, names)
    let kills = 0
    const killer = setInterval(() => {
      if (kills < 8) kills += killAll(readers)
    }, 150)
    expect(kinds(await running)).toEqual(names.map(() => 'summary'))
    clearInterval(killer)
    expect(kills).toBeGreaterThan(0)
  })

  it('and always ends it: the caller is told, and soon', async () => {
    const file = place.write('a.tar', archive)
    const readers = place.readers()
    const killer = setInterval(() => killAll(readers), 2)
    await expect(readers.listMembers(file, { skip: 0, limit: 1, signal: never })).rejects.toMatchObject({
      code: 'ReaderUnavailable',
    })
    clearInterval(killer)
  })
})

function hungry(): ReaderProcesses {
  return place.readers({ entry: ENTRY_WITH_HOOK, cpuBudgetMs: () => 400 })
}

describe('an archive that costs too much', () => {
  // The hook's entry eats what the name of the file says, in the place of an archive that makes the parser do so.
  const EATERS = ['memory.tar', 'cpu.tar', 'abort.tar', 'liar.tar', 'flood.tar']

  it.each(EATERS)('is found in a batch, and the others get their answers: %s', async (name) => {
    const names = ['a.tar', 'b.tar', name, 'c.tar', 'd.tar']
    for (const each of names) place.write(each, archive)
    const outcomes = await summarizeAll(hungry(), names)
    expect(kinds(outcomes)).toEqual(['summary', 'summary', 'too-expensive', 'summary', 'summary'])
    expect(outcomes[2]).toMatchObject({ problem: { code: 'TooExpensive', weight: 'note' } })
  })

  it.each(['memory.tar', 'abort.tar'])('is an error of its own for a caller: %s', async (name) => {
    const readers = hungry()
    place.write('a.tar', archive)
    await expect(
      readers.listMembers(place.write(name, archive), { skip: 0, limit: 1, signal: never }),
    ).rejects.toMatchObject({ code: 'TooExpensive', name: 'UnprocessableError' })
    expect(await readers.summarize(place.file('a.tar'), { lane: 'callers' })).toMatchObject({ kind: 'summary' })
  })

  it('is ended before it has taken the memory of the others', async () => {
    const readers = hungry()
    // That a check cannot be made is an answer as well.
    expect(await readers.findTarEnd(place.write('memory.tar', archive))).toMatchObject({ kind: 'cannot-tell' })
    expect(readers.watch.peakBytes).toBeGreaterThan(MAX_READERS_BYTES)
    // It takes 8 MiB at a time; a busy machine looks late.
    expect(readers.watch.peakBytes).toBeLessThan(MAX_READERS_BYTES + 64 * 1024 * 1024)
  })

  it('may open one large window of zstd at a time', async () => {
    const packer = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: 25 } })
    packer.write(archive.subarray(0, 1000))
    packer.flush(() => packer.end(archive.subarray(1000)))
    const bytes = await buffer(packer)
    const names = ['a.tar', 'b.tar', 'c.tar']
    for (const name of names) place.write(name, bytes)
    const readers = place.readers()
    const whole = { kind: 'summary', summary: { compression: 'zstd', state: 'whole' } }
    const page = { skip: 0, limit: 1000, signal: never }
    const [outcomes, ...lists] = await Promise.all([
      summarizeAll(readers, names),
      ...names.map((name) => readers.listMembers(place.file(name), page)),
    ])
    for (const outcome of outcomes) expect(outcome).toMatchObject(whole)
    for (const list of lists) expect(list.problems).toEqual([])
  })
})

describe('a member of a packed archive', () => {
  const content = Buffer.alloc(4 * 1024 * 1024, 'a member that is long ')
  const packed = gzipSync(Buffer.concat([rawMember({ name: 'long' }, content), END_OF_TAR]))

  async function read(readers: ReaderProcesses, from = 0, signal = never): Promise<Buffer> {
    const file = place.file('a.tar')
    const found = await readers.findMember(file, 'long', signal)
    if (found === undefined) throw new Error('no member')
    expect(found.compression).toBe('gzip')
    const source = await readers.openPackedMember(file, found.member, signal)
    const bytes = Buffer.alloc(content.length - from)
    for (let at = 0; at < bytes.length;) {
      const count = await source.read(bytes, at, bytes.length - at, from + at)
      if (count === 0) break
      at += count
    }
    source.close?.()
    return bytes
  }

  it('is what it was', async () => {
    place.write('a.tar', packed)
    const readers = place.readers()
    expect((await read(readers)).equals(content)).toBe(true)
    expect((await read(readers, 3_000_000)).equals(content.subarray(3_000_000))).toBe(true)
  })

  it('is read on where its reader was ended', async () => {
    const file = place.write('a.tar', packed)
    const readers = place.readers()
    const found = await readers.findMember(file, 'long', never)
    const source = await readers.openPackedMember(file, found?.member as never, never)
    const piece = Buffer.alloc(100_000)
    expect(await source.read(piece, 0, piece.length, 0)).toBeGreaterThan(0)
    for (const pid of readers.pids) process.kill(pid, 'SIGKILL')
    const count = await source.read(piece, 0, piece.length, 2_000_000)
    expect(count).toBeGreaterThan(0)
    expect(piece.subarray(0, count).equals(content.subarray(2_000_000, 2_000_000 + count))).toBe(true)
    source.close?.()
  })

  it('that nobody takes holds up neither callers nor the index, but a third of its kind', async () => {
    const file = place.write('a.tar', packed)
    const readers = place.readers()
    const found = await readers.findMember(file, 'long', never)
    const open = () => readers.openPackedMember(file, found?.member as never, never)
    const slow = await Promise.all([open(), open()])
    const third = open()
    await readers.listMembers(file, { skip: 0, limit: 10, signal: never })
    await summarizeAll(readers, ['a.tar'])
    expect(await Promise.race([third, sleep(100, 'waiting')])).toBe('waiting')
    slow[0]?.close?.()
    const source = await third
    expect(await source.read(Buffer.alloc(10), 0, 10, 0)).toBe(10)
    slow[1]?.close?.()
    source.close?.()
  })

  it('says that it is damaged, and ends with its caller', async () => {
    const damaged = Buffer.from(packed)
    damaged.fill(0xff, damaged.length / 2)
    const file = place.write('a.tar', damaged)
    const readers = place.readers()
    const leaving = new AbortController()
    const found = await readers.findMember(file, 'long', never)
    const source = await readers.openPackedMember(file, found?.member as never, leaving.signal)
    await expect(source.read(Buffer.alloc(10), 0, 10, 4_000_000)).rejects.toMatchObject({
      problem: { code: expect.stringMatching(/^Compressed/) },
    })
    leaving.abort(new Error('left'))
    await expect(async () => await source.read(Buffer.alloc(10), 0, 10, 0)).rejects.toThrow('left')
  })
})

/** A process that has begun to read this file. */
async function startAgent(name: string, bytes: Buffer) {
  place.write(name, bytes)
  const agent = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../support/agent-that-reads.ts'), place.directory, place.stateDirectory, name],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(agent.stdout, 'data')
  const [note = ''] = readdirSync(join(place.stateDirectory, 'readers'))
  const readerPid = Number(note)
  const before = readTimes(readerPid)?.cpuMs ?? 0
  await expect.poll(() => (readTimes(readerPid)?.cpuMs ?? 0) - before).toBeGreaterThan(100)
  return { agent, readerPid }
}

describe('what an agent leaves behind', () => {
  const manyReads = Buffer.concat([
    ...Array.from({ length: 600 }, (_, index) => rawMember({ name: `${index}` }, Buffer.alloc(20_480))),
    END_OF_TAR,
  ])

  it('ends with it where it spins over an archive', async () => {
    const { agent, readerPid } = await startAgent('paced.tar', manyReads)
    agent.kill('SIGKILL')
    await once(agent, 'exit')
    await expect.poll(() => isRunning(readerPid)).toBe(false)
  })

  it('ends with the next agent where it spins and never looks up', async () => {
    const { agent, readerPid } = await startAgent('cpu.tar', archive)
    agent.kill('SIGKILL')
    await once(agent, 'exit')
    await sleep(100)
    expect(isRunning(readerPid)).toBe(true)
    place.readers()
    await expect.poll(() => readTimes(readerPid)).toBeUndefined()
    expect(readdirSync(join(place.stateDirectory, 'readers'))).toEqual([])
  })

  it('is not taken for another process that has its number now', async () => {
    const folder = join(place.stateDirectory, 'readers')
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    await once(stranger, 'spawn')
    mkdirSync(folder)
    writeFileSync(join(folder, String(stranger.pid)), readTimes(stranger.pid ?? 0)?.startTicks ?? '')
    writeFileSync(join(folder, 'nonsense'), '')
    place.readers()
    expect(readdirSync(folder)).toEqual([])
    await sleep(50)
    expect(isRunning(stranger.pid ?? 0)).toBe(true)
    stranger.kill('SIGKILL')
  })
})

describe('the two sides', () => {
  it('end where the other sends a frame beyond its bound', async () => {
    const reader = startReaderWithHook(place.directory)
    await expect(runInReader(reader, `modules.fs.writeSync(1, Buffer.from([1, 0, 16, 0, 0]))`)).rejects.toThrow(
      ReaderEndedError,
    )
    expect((await reader.ended).end).toBe('itself')
  })

  it('does not keep what it has no room for', async () => {
    const reader = startReaderWithHook(place.directory)
    await expect(runInReader(reader, `return 'x'.repeat(2 * 1024 * 1024)`)).rejects.toThrow(ReaderEndedError)
    await reader.close()
  })

  it('agree on where the agent ends: the reader is gone with its pipe', async () => {
    const reader = startReaderWithHook(place.directory)
    await reader.ready()
    expect(existsSync(`/proc/${reader.pid}`)).toBe(true)
    expect(readFileSync(`/proc/${reader.pid}/cmdline`, 'utf8')).toContain('--permission')
    await reader.close()
    expect(isRunning(reader.pid)).toBe(false)
  })
})
