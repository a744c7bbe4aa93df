import { hash } from 'node:crypto'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { checkpointId } from '../../src/checkpoint/checkpoint-id.ts'

const FIRST = Date.UTC(2026, 10, 1)

/** A checkpoint as a containerd node has them, taken ten seconds after the one before. */
export function sampleCheckpoint(index: number, changes: Partial<Checkpoint> = {}): Checkpoint {
  const namespace = index % 20 === 0 ? `team-${index % 400}` : 'shop'
  const pod = `web-deployment-7c9d8f5b6d-${(index % 20_000).toString(36)}`
  const container = index % 3 === 0 ? `sidecar-${index % 30}` : 'counter'
  const taken = new Date(FIRST + index * 10_000)
  const fileName = `checkpoint-${pod}_${namespace}-${container}-${taken.toISOString().slice(0, 19)}Z.tar`
  const digest = hash('sha256', String(index), 'hex')
  const sizeBytes = 100_000 + (Number.parseInt(digest.slice(0, 8), 16) % 1_000_000_000)
  const podUid = digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')
  return {
    id: checkpointId(fileName),
    rawName: Buffer.from(fileName),
    fileName,
    generation: `${9_007_199_254_740_993n + BigInt(index)}:${sizeBytes}:${BigInt(taken.getTime()) * 1_000_000n + 1n}`,
    state: 'ready',
    problems: [],
    identity: { namespace, pod, podUid, container, containerId: digest, source: 'archive', isTrusted: true },
    engine: 'containerd',
    sizeBytes,
    takenAt: { text: taken.toISOString().replace('.000Z', '.000000001Z'), millis: taken.getTime() },
    discoveredAt: new Date(taken.getTime() + 1_500),
    sha256: hash('sha256', digest, 'hex'),
    summary: {
      kind: 'container',
      compression: 'none',
      image: {
        name: 'docker.io/library/busybox:1.36',
        digest: `sha256:${digest}`,
        id: `sha256:${digest.toUpperCase().toLowerCase()}`,
      },
      runtime: 'io.containerd.runc.v2',
      criuVersion: '4.2.1',
      createdAt: taken.toISOString(),
      startedAt: taken.toISOString(),
      memoryBytes: 139_264,
      rootfsDiffBytes: 201,
      processCount: 2,
      memberCount: 33,
      dumpStatistics: {
        freezingMicros: 463,
        frozenMicros: 34_219,
        memdumpMicros: 640,
        memwriteMicros: 147,
        pagesScanned: 48,
        pagesWritten: 34,
      },
    },
    ...changes,
  }
}

/**
 * An inventory in which every filter has rare, middling and common values, and the middling ones lie where a walk
 * through an order finds them last: the namespace "early" is old and large, the engine "podman" is new and small.
 */
export function* manyCheckpoints(count: number): Generator<Checkpoint> {
  for (let index = 0; index < count; index += 1) {
    const sample = sampleCheckpoint(index)
    if (index < count * 0.06) {
      const container = index % 2 === 0 ? 'middling' : 'counter'
      const identity = { ...sample.identity, namespace: 'early', pod: 'web-0', podUid: 'uid-of-web-0', container }
      const rare = index < 20 ? { state: 'incomplete' as const, engine: 'cri-o' as const } : {}
      yield { ...sample, identity, sizeBytes: 10_000_000_000 + index, ...rare }
    } else if (index >= count * 0.95) {
      const { namespace: _, ...rest } = sample.identity
      const identity = { ...rest, source: 'name' as const, isTrusted: false }
      const pin =
        index % 2 === 0 ? { pin: { by: 'us' as const, ...(index % 100 === 0 && { reason: 'incident 7' }) } } : {}
      yield { ...sample, identity, sizeBytes: index % 1000, engine: 'podman', state: 'damaged', ...pin }
    } else {
      yield index % 3 === 0 ? { ...sample, reason: index % 999 === 0 ? 'incident 7' : 'nightly' } : sample
    }
  }
}
