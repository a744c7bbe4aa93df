import { describe, expect, it } from 'vitest'
import type { RunningContainer } from '../../src/http/node-services.ts'
import { UnavailableError } from '../../src/shared/errors.ts'
import { call } from './api-call.ts'
import { counter, lookOf } from './http-services.ts'
import { accessOf } from './role-services.ts'

const bare: RunningContainer = {
  identity: counter,
  image: 'docker.io/library/busybox:1',
  startedAt: undefined,
  memoryBytes: undefined,
  writableLayerBytes: undefined,
  lastCheckpoint: undefined,
  captureInFlight: undefined,
}

describe('GET /v1/containers', () => {
  it('leaves out what is not known', async () => {
    const answer = await list([bare])
    expect(answer.body).toEqual({
      items: [{ identity: counter, containerId: counter.containerId, image: bare.image }],
    })
  })

  it('shows usage, the last checkpoint and a capture in flight', async () => {
    const answer = await list([
      {
        ...bare,
        startedAt: new Date('2026-11-20T21:00:00Z'),
        memoryBytes: 0,
        writableLayerBytes: 4096,
        lastCheckpoint: { id: '9f2c4e5a7b1d3c60', takenAt: new Date('2026-11-20T21:34:08Z') },
        captureInFlight: 'job',
      },
    ])
    expect((answer.body as { items: object[] }).items[0]).toMatchObject({
      startedAt: '2026-11-20T21:00:00.000Z',
      memoryBytes: 0,
      writableLayerBytes: 4096,
      lastCheckpoint: { id: '9f2c4e5a7b1d3c60', takenAt: '2026-11-20T21:34:08.000Z' },
      captureInFlight: 'job',
    })
  })

  it('shows names as readable text, whatever they hold', async () => {
    const identity = { ...counter, pod: 'a\\x1b\\xff\\u{202e}"é' }
    const answer = await list([{ ...bare, identity }])
    expect(answer.body).toMatchObject({ items: [{ identity: { pod: identity.pod } }] })
  })

  it('lets in, or refuses, before the runtime is asked anything', async () => {
    let looks = 0
    const seen: string[] = []
    const their = { ...bare, identity: { ...counter, namespace: 'bank' } }
    const containers = {
      look: async () => {
        looks += 1
        const { namespaces, describe: all } = lookOf([bare, their])
        return {
          namespaces,
          describe: async (sees: (namespace: string) => boolean) => {
            const visible = await all(sees)
            seen.push(...visible.map(({ identity }) => identity.namespace))
            return visible
          },
        }
      },
    }
    const access = accessOf({
      nobody: [],
      team: ['list checkpoints in shop'],
      node: ['list checkpointnodes/checkpoints of node-a'],
    })
    const taken = () => {
      const count = looks
      looks = 0
      return count
    }
    const ask = async (user: string, query = '') => {
      const { status } = await call({ containers, access }, `GET /v1/containers${query}`, {
        headers: { Authorization: `Bearer ${user}` },
      })
      return { status, looks: taken(), seen: seen.splice(0) }
    }
    expect(await ask('nobody', '?namespace=shop')).toEqual({ status: 403, looks: 0, seen: [] })
    // Whose namespaces there are is the runtime's to say: two calls, which all who ask at once share.
    expect(await ask('nobody')).toEqual({ status: 403, looks: 1, seen: [] })
    expect(await ask('team')).toEqual({ status: 200, looks: 1, seen: ['shop'] })
    expect(await ask('team', '?namespace=shop')).toEqual({ status: 200, looks: 1, seen: ['shop'] })
    expect(await ask('node')).toEqual({ status: 200, looks: 1, seen: ['shop', 'bank'] })
  })

  it('says that the runtime does not answer', async () => {
    const error = new UnavailableError('Cannot list containers', {
      code: 'RuntimeUnavailable',
      hint: 'See the runtime.',
    })
    const answer = await call({ containers: { look: () => Promise.reject(error) } }, 'GET /v1/containers')
    expect(answer.body).toMatchObject({ status: 503, code: 'RuntimeUnavailable', hint: 'See the runtime.' })
  })
})

function list(containers: readonly RunningContainer[]) {
  return call({ containers: { look: async () => lookOf(containers) } }, 'GET /v1/containers')
}
