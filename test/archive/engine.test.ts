import { describe, expect, it } from 'vitest'
import { summarizeArchive } from '../../src/agent/inspection/archive-summary.ts'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { buildArchive } from '../support/archive-builder.ts'
import { rawMember } from '../support/raw-tar.ts'
import { honestMembers, tarOf } from './hostile/hostile-case.ts'

const images = honestMembers()
  .filter(({ name }) => name.startsWith('checkpoint/'))
  .map(({ blocks }) => blocks)
const ID = 'f'.repeat(64)
const DIGEST = `sha256:${'a'.repeat(64)}`

interface Metadata {
  readonly config?: object
  readonly annotations?: Readonly<Record<string, string>>
  readonly status?: object
  readonly members?: readonly string[]
}

function archiveOf({ config = {}, annotations = {}, status, members = [] }: Metadata): Buffer {
  return tarOf(
    ...images,
    json('config.dump', config),
    json('spec.dump', { annotations }),
    ...(status === undefined ? [] : [json('status.dump', status)]),
    ...members.map((name) => rawMember({ name, type: name.endsWith('/') ? '5' : '0' })),
  )
}

function json(name: string, value: object): Buffer {
  return rawMember({ name }, JSON.stringify(value))
}

function crio(metadata: string): Readonly<Record<string, string>> {
  return {
    'io.container.manager': 'cri-o',
    'io.kubernetes.container.name': 'counter',
    'io.kubernetes.cri-o.Metadata': metadata,
  }
}

const summarize = (metadata: Metadata) => summarizeArchive(bufferSource(archiveOf(metadata)))

describe('the engine', () => {
  it.each([
    { name: "Podman's manager", annotations: { 'io.container.manager': 'libpod' }, expected: 'podman' },
    { name: "CRI-O's manager", annotations: { 'io.container.manager': 'cri-o' }, expected: 'cri-o' },
    {
      name: "containerd's keys",
      annotations: { 'io.kubernetes.cri.container-type': 'container' },
      expected: 'containerd',
    },
    {
      name: "a key of containerd's that is new",
      annotations: { 'io.kubernetes.cri.new-thing': '' },
      expected: 'containerd',
    },
    {
      name: "Podman's manager beside CRI-O's keys, which Podman 4 writes",
      annotations: {
        'io.container.manager': 'libpod',
        'io.kubernetes.cri-o.Created': 'x',
        'io.kubernetes.cri-o.TTY': 'false',
      },
      expected: 'podman',
    },
    {
      name: "CRI-O's keys alone, which say nothing",
      annotations: { 'io.kubernetes.cri-o.TTY': 'false' },
      expected: 'unknown',
    },
    { name: 'the member status', members: ['status'], expected: 'containerd' },
    { name: 'the member bind.mounts', members: ['bind.mounts'], expected: 'cri-o' },
    { name: 'the member network.status', members: ['network.status'], expected: 'podman' },
    { name: 'the folder artifacts', members: ['artifacts/'], expected: 'podman' },
    { name: 'a volume', members: ['volumes/data.tar'], expected: 'podman' },
    { name: "libpod's configuration", config: { spec: {}, staticDir: '/x' }, expected: 'podman' },
    { name: 'nothing', expected: 'unknown' },
  ])('is known by $name: $expected', async ({ expected, ...metadata }) => {
    // An empty `status` is no JSON, which is a problem of its own.
    expect((await summarize(metadata)).engine).toBe(expected)
  })

  it.each(['containerd', 'cri-o'] as const)('and all else is read from what %s writes', async (engine) => {
    const bytes = Buffer.concat([...buildArchive({ engine, namespace: 'bank', pod: 'ledger-1', attempt: 3 }).chunks()])
    expect(await summarizeArchive(bufferSource(bytes))).toMatchObject({
      engine,
      state: 'whole',
      problems: [],
      claim: { namespace: 'bank', pod: 'ledger-1', container: 'counter', attempt: 3 },
      createdAt: BigInt(Date.parse('2026-06-12T10:00:00Z')) * 1_000_000n,
      takenAt: BigInt(Date.parse('2026-06-12T10:05:00Z')) * 1_000_000n,
      dumpStatistics: { frozenMicros: 34_219 },
    })
  })
})

describe('the image', () => {
  const containerd = { 'io.kubernetes.cri.container-type': 'container' }

  it.each([
    {
      name: 'with a digest in the reference (containerd 2.1 and later)',
      config: { rootfsImageName: 'docker.io/library/app:1', rootfsImageRef: `docker.io/library/app@${DIGEST}` },
      annotations: containerd,
      status: { image_id: `sha256:${ID}`, image_ref: `docker.io/library/app@${DIGEST}` },
      expected: { name: 'docker.io/library/app:1', digest: DIGEST, id: `sha256:${ID}` },
    },
    {
      name: 'with an id in the reference (containerd 2.0)',
      config: { rootfsImage: 'app', rootfsImageName: 'docker.io/library/app:1', rootfsImageRef: `sha256:${ID}` },
      annotations: containerd,
      expected: { name: 'docker.io/library/app:1', id: `sha256:${ID}` },
    },
    {
      name: 'in the annotation alone',
      annotations: { ...containerd, 'io.kubernetes.cri.image-name': 'app:2' },
      expected: { name: 'app:2' },
    },
    {
      name: 'as CRI-O below 1.28 names it',
      config: { rootfsImageName: 'quay.io/app:1' },
      annotations: {
        'io.container.manager': 'cri-o',
        'io.kubernetes.cri-o.ImageRef': ID,
        'io.kubernetes.cri-o.Image': `quay.io/app@${DIGEST}`,
      },
      expected: { name: 'quay.io/app:1', digest: DIGEST, id: ID },
    },
    {
      name: 'with the digest of its own repository among several',
      config: { rootfsImageName: 'quay.io:5000/app:1' },
      annotations: {
        'io.container.manager': 'cri-o',
        'io.kubernetes.cri-o.ImageRepoDigests': `mirror/app@sha256:${'b'.repeat(64)},quay.io:5000/app@${DIGEST}`,
      },
      expected: { name: 'quay.io:5000/app:1', digest: DIGEST },
    },
    {
      name: 'as Podman names it',
      config: { rootfsImageID: ID, RawImageName: 'app', spec: {} },
      expected: { name: 'app', id: ID },
    },
    { name: 'that nobody names', expected: {} },
  ])('$name', async ({ expected, ...metadata }) => {
    expect((await summarize(metadata)).image).toEqual(expected)
  })
})

describe('what CRI-O says as JSON in a text', () => {
  it('names the container and its restarts', async () => {
    const { claim } = await summarize({ annotations: crio('{"name":"counter","attempt":2}') })
    expect(claim).toMatchObject({ container: 'counter', attempt: 2, isContradictory: false })
  })

  it.each(['', '{', '[]', 'null', '{"name":5}', 'x'.repeat(10_000)])(
    'may be broken (%s); the label then counts',
    async (text) => {
      const summary = await summarize({ annotations: crio(text) })
      expect(summary).toMatchObject({ state: 'whole', claim: { container: 'counter' } })
    },
  )

  it('may say something else than the label', async () => {
    const { claim } = await summarize({ annotations: crio('{"name":"other"}') })
    expect(claim).toMatchObject({ container: 'other', isContradictory: true })
  })
})

describe('the times', () => {
  it('that are unset are absent', async () => {
    const summary = await summarize({
      config: { createdTime: '0001-01-01T00:00:00Z', checkpointedTime: '0001-01-01T00:00:00Z' },
      status: { created_at: 0, started_at: 0 },
    })
    expect(summary).not.toHaveProperty('createdAt')
    expect(summary).not.toHaveProperty('startedAt')
    expect(summary).toMatchObject({ takenAtSource: 'member' })
  })

  it("come from CRI-O's annotation where the configuration has none (1.25)", async () => {
    const created = '2026-11-20T16:21:09.937971013Z'
    const annotations = { 'io.container.manager': 'cri-o', 'io.kubernetes.cri-o.Created': created }
    expect((await summarize({ annotations })).createdAt).toBe(1795191669937971013n)
  })
})
