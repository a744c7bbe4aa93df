import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { abilityFrom, probeCheckpointAbility, type CheckpointAbility } from '../../src/runtime/checkpoint-ability.ts'
import { CriClient } from '../../src/runtime/cri-client.ts'
import { AgentError } from '../../src/shared/errors.ts'
import type { CriuOnNode } from '../support/simulated-personality.ts'
import { startSimulatedRuntime, type SimulatedRuntime } from '../support/simulated-runtime.ts'

let folder: string
let runtime: SimulatedRuntime
let client: CriClient

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ability-'))
})

afterEach(async () => {
  client.close()
  await runtime.stop()
  rmSync(folder, { recursive: true })
})

async function start(is: string): Promise<void> {
  const socketPath = join(folder, 'runtime.sock')
  runtime = await startSimulatedRuntime({ socketPath, is })
  runtime.webPod()
  client = new CriClient({ socketPath })
}

interface Row {
  readonly is: string
  readonly criu?: CriuOnNode
  readonly prepare?: () => void
  readonly state: CheckpointAbility['state']
  readonly code?: string
}

describe('probeCheckpointAbility', () => {
  it.each<Row>([
    { is: 'containerd 2.1.9', state: 'yes' },
    { is: 'containerd 2.4.2', state: 'yes' },
    { is: 'cri-o 1.36.3', state: 'yes' },
    { is: 'containerd 2.1.9', criu: 'missing', state: 'no', code: 'CriuMissing' },
    { is: 'containerd 2.1.9', criu: 'too-old', state: 'no', code: 'CriuTooOld' },
    { is: 'containerd 2.4.2', criu: 'missing', state: 'no', code: 'CriuMissing' },
    { is: 'containerd 2.4.2', criu: 'too-old', state: 'no', code: 'CriuTooOld' },
    { is: 'containerd 2.4.2', criu: 'disabled', state: 'no', code: 'CriuDisabled' },
    { is: 'cri-o 1.36.3', criu: 'missing', state: 'no', code: 'CriuDisabled' },
    { is: 'cri-o 1.36.3', criu: 'disabled', state: 'no', code: 'CriuDisabled' },
    { is: 'cri-o 1.36.3', criu: 'too-old', state: 'no', code: 'CriuMissing' },
    { is: 'containerd 1.6.8', state: 'no', code: 'CheckpointNotImplemented' },
    { is: 'containerd 1.6.20', state: 'no', code: 'CheckpointNotImplemented' },
    { is: 'containerd 1.7.24', state: 'no', code: 'CheckpointNotImplemented' },
    { is: 'cri-o 1.24.6', state: 'no', code: 'CheckpointNotImplemented' },
    { is: 'containerd 2.1.9', prepare: () => (runtime.hasCri = false), state: 'no', code: 'CriPluginDisabled' },
    {
      is: 'containerd 2.1.9',
      prepare: () => (runtime.isInitialized = false),
      state: 'unknown',
      code: 'RuntimeNotInitialized',
    },
    {
      is: 'containerd 1.7.24',
      prepare: () => (runtime.isInitialized = false),
      state: 'unknown',
      code: 'RuntimeNotInitialized',
    },
    {
      is: 'containerd 2.1.9',
      prepare: () => (runtime.failure = { code: 14, details: 'busy' }),
      state: 'unknown',
      code: 'RuntimeUnavailable',
    },
    {
      is: 'containerd 2.1.9',
      prepare: () => (runtime.failure = { code: 2, details: 'a novel misfortune' }),
      state: 'unknown',
      code: 'Unclassified',
    },
  ])('$is, CRIU $criu: $state $code', async ({ is, criu = 'present', prepare, state, code }) => {
    await start(is)
    runtime.criu = criu
    prepare?.()
    const ability = await probeCheckpointAbility(client)
    const text: unknown = expect.stringMatching(/\S/)
    expect(ability).toEqual(state === 'yes' ? { state } : { state, code, reason: text, hint: text })
  })

  it.each(['containerd 2.1.9', 'containerd 2.4.2', 'cri-o 1.36.3'])('touches nothing on %s', async (is) => {
    await start(is)
    await probeCheckpointAbility(client)
    await probeCheckpointAbility(client)
    expect(runtime.pods.containers().every(({ isFrozen }) => !isFrozen)).toBe(true)
    expect(runtime.dumpsRunning).toBe(0)
    expect(readdirSync(folder)).toEqual(['runtime.sock'])
    const [first, second] = runtime.calls.checkpoints()
    expect(first).toMatchObject({
      containerId: expect.stringMatching(/^[0-9a-f]{64}$/),
      location: '',
      hasDeadline: false,
    })
    expect(second?.containerId).not.toBe(first?.containerId)
  })

  it('does not know when nobody answers', async () => {
    await start('containerd 2.1.9')
    await runtime.stop('stale')
    expect(await probeCheckpointAbility(client)).toMatchObject({ state: 'unknown', code: 'RuntimeUnavailable' })
  })

  it('does not believe a runtime that claims to have done it', async () => {
    await start('containerd 2.1.9')
    const liar = Object.assign(Object.create(client) as CriClient, { checkpoint: async () => undefined })
    expect(await probeCheckpointAbility(liar)).toMatchObject({ state: 'unknown', code: 'Unclassified' })
  })
})

describe('abilityFrom', () => {
  class SomeError extends AgentError {}

  it.each([
    { code: 'TcpEstablished', state: 'unknown' },
    { code: 'DiskFull', state: 'unknown' },
    { code: 'CaptureCancelled', state: 'unknown' },
    { code: 'CriuMissing', state: 'no' },
    { code: 'ContainerNotFound', state: 'yes' },
  ])('$code of one capture says "$state" of the node', async ({ code, state }) => {
    await start('containerd 2.1.9')
    expect(abilityFrom(new SomeError('what was the case', { code })).state).toBe(state)
  })
})
