import { closeSync, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { summarizeArchive } from '../../src/agent/inspection/archive-summary.ts'
import { bufferSource, type ByteSource, descriptorSource, fileSource } from '../../src/streams/byte-source.ts'
import { END_OF_TAR, paxMember, rawHeader } from '../support/raw-tar.ts'
import { honestArchive, honestMembers, madeUpSource } from './hostile/hostile-case.ts'
import { fixtureArchive } from './real-archives.ts'

const folder = mkdtempSync(join(tmpdir(), 'byte-window-'))
afterAll(() => rmSync(folder, { recursive: true }))

const MIB = 1024 * 1024
const GIB = 1024 * MIB

/** An archive whose memory is a hole of this size, so that it takes no room on the disk. */
function writeWithMemory(name: string, memoryBytes: number): string {
  const path = join(folder, name)
  const file = openSync(path, 'w', 0o600)
  let at = 0
  const write = (bytes: Uint8Array) => (at += writeSync(file, bytes, 0, bytes.length, at))
  for (const member of honestMembers()) {
    if (member.name === 'checkpoint/pages-1.img') {
      // As the engines write it: beyond 8 GiB the header itself says 0.
      write(paxMember({ size: String(memoryBytes) }))
      write(rawHeader({ name: member.name }))
      at += memoryBytes
    } else {
      write(member.blocks)
    }
  }
  write(END_OF_TAR)
  closeSync(file)
  truncateSync(path, at)
  return path
}

interface Cost {
  reads: number
  bytes: number
}

function counted(source: ByteSource): { readonly source: ByteSource; readonly cost: Cost } {
  const cost: Cost = { reads: 0, bytes: 0 }
  return {
    cost,
    source: {
      sizeBytes: source.sizeBytes,
      read: async (...args) => {
        const bytesRead = await source.read(...args)
        cost.reads += 1
        cost.bytes += bytesRead
        return bytesRead
      },
    },
  }
}

async function costOf(path: string) {
  await using file = await open(path)
  const { source, cost } = counted(fileSource(file, statSync(path).size))
  return { cost, summary: await summarizeArchive(source) }
}

describe('the cost of a summary', () => {
  it('is a few reads for a small archive, and little of it', async () => {
    const { source, cost } = counted(bufferSource(fixtureArchive('containerd-2.1-counter')))
    await summarizeArchive(source)
    // Of 264,704 bytes. One read for all takes longer: what is copied for nothing costs more than a call.
    expect(cost).toEqual({ reads: 5, bytes: 75_264 })
  })

  it('goes by members, not by bytes', async () => {
    const small = await costOf(writeWithMemory('small.tar', 2 * MIB))
    const large = await costOf(writeWithMemory('large.tar', 64 * GIB))
    expect(large.summary).toMatchObject({ state: 'whole', memoryBytes: expect.any(Number), processCount: 2 })
    expect(large.summary.memoryBytes - small.summary.memoryBytes).toBe(64 * GIB - 2 * MIB)
    expect(large.cost).toEqual(small.cost)
    expect(large.cost.reads).toBeLessThan(6)
    expect(large.cost.bytes).toBeLessThan(512 * 1024)
  })

  it('takes no memory for the bytes in between', async () => {
    const path = writeWithMemory('huge.tar', 512 * GIB)
    const before = process.memoryUsage().arrayBuffers
    await costOf(path)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * MIB)
  })

  it('takes the same memory however many members there are', async () => {
    const member = rawHeader({ name: 'artifacts/', type: '5' })
    const before = process.memoryUsage().arrayBuffers
    const summary = await summarizeArchive(madeUpSource(100_000 * 512, () => member))
    expect(summary.memberCount).toBe(100_000)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * MIB)
  })
})

describe('an archive gives one summary', () => {
  const bytes = honestArchive()

  it.each([
    { name: 'byte by byte', step: 1 },
    { name: 'in pieces of a prime', step: 997 },
    { name: 'in pieces of a block', step: 512 },
  ])('when it is read $name', async ({ step }) => {
    const expected = await summarizeArchive(bufferSource(bytes))
    const source: ByteSource = {
      sizeBytes: bytes.length,
      read: (into, at, length, position) => bytes.copy(into, at, position, position + Math.min(step, length)),
    }
    expect(await summarizeArchive(source)).toEqual(expected)
  })

  it('from a file handle, a descriptor and memory', async () => {
    const path = join(folder, 'plain.tar')
    const descriptor = openSync(path, 'w+', 0o600)
    writeSync(descriptor, bytes)
    await using handle = await open(path)
    const summaries = await Promise.all(
      [fileSource(handle, bytes.length), descriptorSource(descriptor, bytes.length), bufferSource(bytes)].map(
        (source) => summarizeArchive(source),
      ),
    )
    closeSync(descriptor)
    expect(summaries[1]).toEqual(summaries[0])
    expect(summaries[2]).toEqual(summaries[0])
  })

  it('when many are read at once', async () => {
    const names = ['containerd-2.1-counter', 'crio-1.36-counter', 'podman-5.8-gzip', 'podman-5.8-zstd']
    const archives = Array.from({ length: 40 }, (_, index) => fixtureArchive(names[index % names.length] ?? ''))
    const engines = await Promise.all(
      archives.map(async (archive) => (await summarizeArchive(slowly(bufferSource(archive)))).engine),
    )
    expect(engines).toEqual(archives.map((_, index) => ['containerd', 'cri-o', 'podman', 'podman'][index % 4]))
  })

  it('but throws what the disk throws', async () => {
    const source: ByteSource = { sizeBytes: 10_000, read: () => Promise.reject(new Error('EIO: i/o error, read')) }
    await expect(summarizeArchive(source)).rejects.toThrow('EIO')
    const later = bufferSource(fixtureArchive('podman-5.8-zstd'))
    let reads = 0
    const failing: ByteSource = {
      sizeBytes: later.sizeBytes,
      read: (...args) => (reads++ < 2 ? later.read(...args) : Promise.reject(new Error('EIO: i/o error, read'))),
    }
    await expect(summarizeArchive(failing)).rejects.toThrow('EIO')
  })
})

/** Gives the others a turn before each read. */
function slowly(source: ByteSource): ByteSource {
  return {
    sizeBytes: source.sizeBytes,
    read: async (...args) => {
      await new Promise((resolve) => setImmediate(resolve))
      return await source.read(...args)
    },
  }
}
