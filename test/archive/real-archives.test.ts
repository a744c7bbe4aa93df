import { createHash } from 'node:crypto'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { summarizeArchive } from '../../src/agent/inspection/archive-summary.ts'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { formatInstant } from '../../src/archive/instant.ts'
import { listMembers } from '../../src/archive/member-list.ts'
import { readInternalStatus, readStatusDump } from '../../src/archive/status-dump.ts'
import { readInventory } from '../../src/criu/inventory.ts'
import { splitTar } from '../support/raw-tar.ts'
import { expectedImages, fixtureArchive, realArchive, unpacked } from './real-archives.ts'

interface Expectation {
  readonly file: string
  readonly tarSha256: string
  readonly summary: Readonly<Record<string, unknown>>
  readonly createdAt: string
  readonly startedAt?: string
  readonly takenAt: string
}

const COUNTER_ID = '4f987a6f616263bbd5158bb585d4c0c24285c77ee2c6f15378ba5ab22b05f0da'

const PODMAN = {
  engine: 'podman',
  claim: {
    container: 'looper',
    containerId: 'fb30dd56705efbafbae4d994045bdfb5b18e0b35457eb7b0ecc43d71cccef00e',
    isContradictory: false,
  },
  image: { name: 'localhost/counter:1', id: COUNTER_ID },
  runtime: 'runc',
  takenAtSource: 'member',
  memoryBytes: 36 * 4096,
  rootfsDiffBytes: 2048,
  memberCount: 36,
  endOffset: 265_728,
}

const ARCHIVES: readonly Expectation[] = [
  {
    file: 'containerd-2.1-counter',
    tarSha256: '285ca4cb580a19d88d26124bef7f83f9c47d1424c2521bc55e48906d080d7a81',
    createdAt: '2026-11-20T16:01:06.809469787Z',
    startedAt: '2026-11-20T16:01:06.84973428Z',
    takenAt: '2026-11-20T16:01:09.88171404Z',
    summary: {
      engine: 'containerd',
      claim: {
        namespace: 'shop',
        pod: 'web-0',
        podUid: '11111111-2222-3333-4444-555555555555',
        container: 'counter',
        containerId: '3d49dc55244f0bf8e5cbceb6c44fa5acbdd2045a9e2735a5063fc9edf803ae1f',
        sandboxId: '992b2b096aef1504db22fd3db0373257486fe3ab7da83aac9e1f4d02016d1288',
        attempt: 0,
        isContradictory: false,
      },
      image: { name: 'localhost/counter:1', id: `sha256:${COUNTER_ID}` },
      runtime: 'io.containerd.runc.v2',
      criuVersion: '4.2.1',
      takenAtSource: 'engine',
      checkpointBytes: 155_414,
      memoryBytes: 139_264,
      rootfsDiffBytes: 201,
      memberCount: 34,
      endOffset: 264_704,
    },
  },
  {
    file: 'containerd-2.1-rich',
    tarSha256: 'b1b64dd0edd3a8f18224bf7b2a6556822af5afdc62a55bf55e1a1ae8afee7da2',
    createdAt: '2026-11-20T16:23:08.15129452Z',
    startedAt: '2026-11-20T16:23:08.234342215Z',
    takenAt: '2026-11-20T16:23:12.251036009Z',
    summary: {
      engine: 'containerd',
      claim: expect.objectContaining({ namespace: 'shop', pod: 'api-7d9f', container: 'app' }),
      image: { name: 'localhost/rich:1', id: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
      criuVersion: '4.2.1',
      checkpointBytes: 26_235_033,
      memoryBytes: 26_185_728,
      memberCount: 57,
      endOffset: 26_608_640,
    },
  },
  {
    file: 'containerd-2.4-pod-counter',
    tarSha256: '011157211a58c445c1b911b672863bd5cf8d92d523db42f497fa7b185de7a728',
    createdAt: '2026-11-20T21:44:31.164422456Z',
    startedAt: '2026-11-20T21:44:31.22617172Z',
    takenAt: '2026-11-20T21:44:57.157588158Z',
    summary: {
      engine: 'containerd',
      claim: expect.objectContaining({
        namespace: 'bank',
        pod: 'ledger-1',
        podUid: '3411c432-751e-4d3b-9492-9ecc0b739a0c',
        container: 'side-car',
      }),
      image: {
        name: 'localhost/counter:1',
        id: 'sha256:f1418161b5eb5c1c41660100dad14f3afd7d59b0d4f53d8cbe5945cd9eeca519',
      },
      criuVersion: '4.2.1',
      memoryBytes: 35 * 4096,
      rootfsDiffBytes: 295,
      memberCount: 37,
    },
  },
  {
    file: 'crio-1.36-counter',
    tarSha256: '7b69e53f82ae84dabd307554a01beddee242f03b0206d2dc318b8d9f29f1f984',
    createdAt: '2026-11-20T16:21:09.985070509Z',
    takenAt: '2026-11-20T16:21:13.058241514Z',
    summary: {
      engine: 'cri-o',
      claim: expect.objectContaining({
        namespace: 'shop',
        pod: 'crio-pod-c',
        podUid: '22222222-2222-3333-4444-555555555555',
        container: 'counter',
        isContradictory: false,
      }),
      image: {
        name: 'localhost/counter:1',
        digest: 'sha256:103642af41cb3b050e0e6cdbe2f964f01413c5d5ae7fd3ebf7be949acdecf5a5',
        id: COUNTER_ID,
      },
      runtime: 'runc',
      criuVersion: '4.2.1',
      takenAtSource: 'engine',
      memoryBytes: 36 * 4096,
      rootfsDiffBytes: 2560,
      memberCount: 34,
      endOffset: 282_624,
    },
  },
  {
    file: 'podman-5.8-none',
    tarSha256: '2eedee9507fc2368873dfe5d017b680fce7b17512b9dc0d120e8f70f3bf99af9',
    createdAt: '2026-11-20T16:11:45.261131901Z',
    takenAt: '2026-11-20T16:11:48Z',
    summary: { ...PODMAN, compression: 'none', checkpointBytes: 186_677 },
  },
  {
    file: 'podman-5.8-gzip',
    tarSha256: '62840aa675b1ca27f76c3ff2c9a85a438d6dfdc87e055f72e176b631e487592d',
    createdAt: '2026-11-20T16:11:45.261131901Z',
    takenAt: '2026-11-20T16:11:49Z',
    summary: { ...PODMAN, compression: 'gzip' },
  },
  {
    file: 'podman-5.8-zstd',
    tarSha256: '14c2120df5afac980373a98b2f3664854083cfd58fc29aa1a44a7e4faad954ee',
    createdAt: '2026-11-20T16:11:45.261131901Z',
    takenAt: '2026-11-20T16:11:49Z',
    summary: { ...PODMAN, compression: 'zstd' },
  },
]

// The rich one is too large for the repository; it lies beside it where the project is developed.
const here = ARCHIVES.filter(({ file }) => realArchive(file) !== undefined)
for (const { file } of ARCHIVES.filter((each) => !here.includes(each))) {
  console.warn(`${file} is not on this machine: nothing is said about it`)
}

describe.each(here)('$file', (expected) => {
  const archive = realArchive(expected.file) ?? Buffer.alloc(0)

  it('is the file that the engine wrote', () => {
    expect(createHash('sha256').update(archive).digest('hex')).toBe(expected.tarSha256)
  })

  it('tells what it is, whole and without a problem', async () => {
    const summary = await summarizeArchive(bufferSource(archive))
    expect(summary).toMatchObject({ state: 'whole', kind: 'container', problems: [], ...expected.summary })
    expect(timesOf(summary)).toEqual({
      createdAt: expected.createdAt,
      startedAt: expected.startedAt,
      takenAt: expected.takenAt,
    })
  })

  it("has the processes, pages and statistics that CRIU's own library reads", async () => {
    const images = expectedImages(expected.file)
    if (images === undefined) throw new Error(`no expectation for ${expected.file}`)
    const summary = await summarizeArchive(bufferSource(archive))
    const { dump } = images.stats
    expect(summary.processCount).toBe(images.processes.length)
    expect(summary.dumpStatistics).toEqual({
      freezingMicros: dump['freezing_time'],
      frozenMicros: dump['frozen_time'],
      memdumpMicros: dump['memdump_time'],
      memwriteMicros: dump['memwrite_time'],
      pagesScanned: dump['pages_scanned'],
      pagesSkippedParent: dump['pages_skipped_parent'],
      pagesWritten: dump['pages_written'],
      pagesLazy: dump['pages_lazy'],
      sharedPagesScanned: dump['shpages_scanned'],
      sharedPagesSkippedParent: dump['shpages_skipped_parent'],
      sharedPagesWritten: dump['shpages_written'],
    })
    const privateBytes = images.processes.reduce((sum, { pagesFileSize }) => sum + pagesFileSize, 0)
    expect(summary.memoryBytes).toBe(privateBytes + (dump['shpages_written'] ?? 0) * 4096)
    const inventory = splitTar(unpacked(archive)).find(({ name }) => name === 'checkpoint/inventory.img')
    expect(readInventory({ read: () => inventory?.content })).toEqual({
      imageVersion: images.inventory.img_version,
      runId: images.inventory.dump_criu_run_id,
      pageCompression: { kind: 'none' },
      isPreDump: false,
    })
  })

  it.each([
    { packing: 'gzip', pack: (tar: Buffer) => gzipSync(tar) },
    { packing: 'zstd', pack: (tar: Buffer) => zstdCompressSync(tar) },
  ])('says the same when it is packed with $packing', async ({ packing, pack }) => {
    const tar = unpacked(archive)
    const plain = await summarizeArchive(bufferSource(tar))
    const packed = await summarizeArchive(bufferSource(pack(tar)))
    expect(packed).toEqual({ ...plain, compression: packing })
  })
})

describe('the archive of containerd 2.1', () => {
  const members = new Map(splitTar(fixtureArchive('containerd-2.1-counter')).map((each) => [each.name, each.content]))
  const content = (name: string) => members.get(name) ?? Buffer.alloc(0)

  it('keeps nanoseconds that a JavaScript number cannot hold', () => {
    expect(readStatusDump(content('status.dump'))).toMatchObject({
      createdAt: 1795190466810165955n,
      startedAt: 1795190466849734280n,
    })
    expect(readInternalStatus(content('status'))).toMatchObject({
      createdAt: 1795190466810165955n,
      startedAt: 1795190466849734280n,
    })
  })

  it('lists its members where they stand', async () => {
    const {
      members: listed,
      remaining,
      problems,
    } = await listMembers(bufferSource(fixtureArchive('containerd-2.1-counter')), { limit: 1000 })
    expect({ count: listed.length, remaining, problems }).toEqual({ count: 34, remaining: 0, problems: [] })
    expect(listed[0]).toMatchObject({ name: 'checkpoint', type: 'directory', sizeBytes: 0, offset: 512 })
    expect(listed.find(({ name }) => name === 'config.dump')).toMatchObject({ offset: 177_664 + 512, sizeBytes: 494 })
    expect(listed.find(({ name }) => name === 'rootfs-diff.tar')).toMatchObject({
      offset: 254_976 + 512,
      sizeBytes: 201,
    })
    expect(listed.at(-1)).toMatchObject({ name: 'status.dump', offset: 262_144 + 512, type: 'file' })
  })

  it('lists them page by page', async () => {
    const source = bufferSource(fixtureArchive('containerd-2.1-counter'))
    const first = await listMembers(source, { limit: 20 })
    const second = await listMembers(source, { skip: 20, limit: 20 })
    const all = await listMembers(source, { limit: 100 })
    expect([first.remaining, second.remaining]).toEqual([14, 0])
    expect([...first.members, ...second.members]).toEqual(all.members)
  })
})

function timesOf({ createdAt, startedAt, takenAt }: Awaited<ReturnType<typeof summarizeArchive>>) {
  return { createdAt: timeText(createdAt), startedAt: timeText(startedAt), takenAt: timeText(takenAt) }
}

function timeText(instant: bigint | undefined): string | undefined {
  return instant === undefined ? undefined : formatInstant(instant)
}
