import { describe, expect, it } from 'vitest'
import type { NodeStatus } from '../../src/http/node-services.ts'
import { call } from './api-call.ts'

const bare: NodeStatus = {
  node: 'node-a',
  agentVersion: '0.1.0',
  runtime: undefined,
  canCheckpoint: { state: 'unknown' },
  disk: { totalBytes: 100, freeBytes: 50, archiveBytes: 0, floorBytes: 5 },
  checkpoints: { count: 0, byState: {} },
  captures: { running: 0, queued: 0, queueLimit: 64, unpublished: 0 },
  freezeGuard: { policy: 'report', frozenNow: 0, resumedTotal: 0, foreignResumedTotal: 0, canLook: true },
  custody: { keyId: 'ab'.repeat(32), publicKey: '-----BEGIN PUBLIC KEY-----' },
  tlsFingerprint: undefined,
}

describe('GET /v1/node', () => {
  it('leaves out what is not known', async () => {
    const answer = await show(bare)
    expect(answer.status).toBe(200)
    const { runtime: _runtime, tlsFingerprint: _tlsFingerprint, ...known } = bare
    expect(answer.body).toEqual(known)
  })

  it('shows runtime, capability and fingerprint', async () => {
    const answer = await show({
      ...bare,
      runtime: { name: 'containerd', version: '1.6.20' },
      canCheckpoint: {
        state: 'no',
        code: 'CheckpointNotImplemented',
        reason: 'this runtime cannot take checkpoints',
        hint: 'Use containerd 2.0',
        checkedAt: new Date('2026-11-20T21:34:07Z'),
      },
      checkpoints: { count: 3, byState: { discovered: 3 } },
      tlsFingerprint: 'AB:CD',
    })
    expect(answer.body).toMatchObject({
      runtime: { name: 'containerd', version: '1.6.20' },
      canCheckpoint: { state: 'no', code: 'CheckpointNotImplemented', checkedAt: '2026-11-20T21:34:07.000Z' },
      checkpoints: { count: 3, byState: { discovered: 3 } },
      tlsFingerprint: 'AB:CD',
    })
  })

  it('shows no field that is added inside the agent', async () => {
    const answer = await show({ ...bare, stateDirectory: '/var/lib/checkpoint-agent' } as NodeStatus)
    expect(answer.text).not.toContain('/var/lib')
  })

  it('takes no parameters', async () => {
    const answer = await call({}, 'GET /v1/node?x=1&y=2')
    expect(answer.body).toMatchObject({
      status: 400,
      detail:
        'Cannot read the request query: "x" is not a parameter of this route; "y" is not a parameter of this route',
    })
  })
})

function show(status: NodeStatus) {
  return call({ node: { status: async () => status } }, 'GET /v1/node')
}
