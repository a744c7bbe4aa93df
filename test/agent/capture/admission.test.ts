import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { admit, type AdmissionTools } from '../../../src/agent/capture/admission.ts'
import { NodeContainers } from '../../../src/agent/containers/node-containers.ts'
import { Staging } from '../../../src/agent/directory/staging.ts'
import type { ContainerRuntime } from '../../../src/runtime/container-runtime.ts'

const IDENTITY = { namespace: 'shop', pod: 'web-0', podUid: 'u', container: 'counter', containerId: 'c' }
const NEVER_FREE = 1024 ** 5

let directory: string
beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/admission-`)
})
afterEach(() => rmSync(directory, { recursive: true }))

function tools(changes: Partial<AdmissionTools> = {}): AdmissionTools {
  const runtime = {
    listUsage: async () => new Map([['c', { memoryBytes: 10_000_000, writableLayerBytes: 0 }]]),
  } as unknown as ContainerRuntime
  return {
    runtime,
    containers: new NodeContainers(runtime),
    freezeControl: { look: async () => 'running' } as unknown as AdmissionTools['freezeControl'],
    staging: new Staging(directory),
    checkpointsDirectory: directory,
    diskFloor: { fraction: 0, minFreeBytes: 0 },
    runtimeName: () => 'containerd',
    sizeFactor: 1,
    reservations: new Set(),
    ...changes,
  }
}

describe('a capture for which there is no room', () => {
  it('has old archives removed first, and is admitted when that was enough', async () => {
    const diskFloor = { fraction: 0, minFreeBytes: NEVER_FREE }
    const asked: number[] = []
    const makeRoom = async (bytes: number) => {
      asked.push(bytes)
      diskFloor.minFreeBytes = 0
    }
    const reservations = new Set([{ bytes: 1_000 }])
    const admission = await admit({ identity: IDENTITY, pin: false }, tools({ diskFloor, makeRoom, reservations }))
    expect(asked).toEqual([admission.diskBytes + 1_000])
  })

  it('is refused when that was not enough', async () => {
    let asked = 0
    const makeRoom = async () => {
      asked += 1
    }
    const diskFloor = { fraction: 0, minFreeBytes: NEVER_FREE }
    const admitted = admit({ identity: IDENTITY, pin: false }, tools({ diskFloor, makeRoom }))
    await expect(admitted).rejects.toMatchObject({ code: 'DiskFloor' })
    expect(asked).toBe(1)
  })

  it('has nothing removed where there is room', async () => {
    const asked: number[] = []
    const makeRoom = async (bytes: number) => void asked.push(bytes)
    await admit({ identity: IDENTITY, pin: false }, tools({ makeRoom }))
    expect(asked).toEqual([])
  })
})

describe('a capture whose archive retention would remove at once', () => {
  it('is refused, unless it is to be pinned', async () => {
    const asked: unknown[] = []
    const rejectionReason: AdmissionTools['rejectionReason'] = (identity, bytes) => {
      asked.push({ identity, isWhole: bytes >= 10_000_000 })
      return 'its rule allows 1 MiB'
    }
    const admitted = admit({ identity: IDENTITY, pin: false }, tools({ rejectionReason }))
    await expect(admitted).rejects.toMatchObject({ code: 'RetentionLimit' })
    expect(asked).toEqual([{ identity: IDENTITY, isWhole: true }])
    expect(await admit({ identity: IDENTITY, pin: true }, tools({ rejectionReason }))).toMatchObject({
      wasPaused: false,
    })
  })
})
