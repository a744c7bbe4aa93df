import { describe, expect, it } from 'vitest'
import type { Operation } from '../../src/api/operation.ts'
import { operationList } from '../../src/api/operations.ts'
import {
  ConflictError,
  InvalidInputError,
  NotFoundError,
  OutOfSpaceError,
  RuntimeFailureError,
  UnavailableError,
} from '../../src/shared/errors.ts'
import { escapeInJson } from '../../src/shared/readable-text.ts'
import { capture, checkpoint, job, startApp, type ServiceChanges } from './http-services.ts'
import { rawRequest, type RawAnswer } from './raw-request.ts'

const PATH = '/var/lib/kubelet/checkpoints/secret-folder/archive.tar'
const OFFENSIVE = 'a\u001b[2J\u009b1m\u202eb\u2066c\u{e0041}d\u2028e'

const details = {
  code: 'Made',
  hint: `As root on the node: chown root: ${PATH}`,
  runtimeMessage: `criu failed: type NOTIFY, see ${PATH}: ${OFFENSIVE}`,
}

/** What may come out of the agent, all of it with a path and with what moves a cursor. */
const FAILURES: Readonly<Record<string, unknown>> = {
  'a system error': Object.assign(new Error(`EACCES: permission denied, open '${PATH}'`), {
    code: 'EACCES',
    syscall: 'open',
    path: PATH,
  }),
  'a defect': new TypeError(`Cannot read properties of ${PATH}${OFFENSIVE}`),
  'something that is no error': `${PATH}${OFFENSIVE}`,
  'a failed runtime': new RuntimeFailureError(`CRIU could not dump: ${PATH}${OFFENSIVE}`, details),
  'a service that is away': new UnavailableError(`Cannot stage in "${PATH}": ${OFFENSIVE}`, details),
  'a full disk': new OutOfSpaceError(`Cannot write ${PATH}${OFFENSIVE}`, details),
  'a conflict': new ConflictError(`Cannot do it: ${OFFENSIVE}`, { code: 'Made' }),
  'something missing': new NotFoundError(`Cannot find ${OFFENSIVE}`, { code: 'Made' }),
  'a wrong request': new InvalidInputError(`Cannot read ${OFFENSIVE}`, { code: 'Made', extra: { name: OFFENSIVE } }),
}

/** The kubelet's own route says what the kubelet says, paths included; health has no text at all. */
const ours = operationList.filter(({ permission }) => permission.kind !== 'kubelet' && permission.kind !== 'open')

/** The document is the same for everybody, and needs nothing that could fail; who may do what is asked of nobody here. */
const CANNOT_FAIL = new Set(['getOpenApi', 'getAccess'])

describe.each(Object.entries(FAILURES))('of %s', (_, failure) => {
  it.each(ours.filter(({ id }) => !CANNOT_FAIL.has(id)))(
    '$method $path tells no more than it should',
    async (operation) => {
      const answer = await ask(await startApp(allFail(failure, operation)), operation)
      // A stream is begun before it can fail.
      expect(answer.status >= 400).toBe(operation.id !== 'watch')
      expectNothingOfTheNode(answer)
    },
  )
})

describe('what failed earlier', () => {
  it('is told of a capture without paths', async () => {
    const failed = job({
      captures: [
        capture({
          state: 'failed',
          failure: { ...details, detail: `Cannot write ${PATH}${OFFENSIVE}`, kubeletText: PATH },
        }),
      ],
    })
    const captures = {
      list: () => ({ jobs: [failed], remaining: 0 }),
      get: () => failed,
      request: async () => failed,
      wait: async () => failed,
    }
    const port = await startApp({ captures })
    for (const path of ['/v1/captures', '/v1/captures/x']) {
      const answer = await rawRequest(port, { method: 'GET', path })
      expectNothingOfTheNode(answer)
      expect(answer.body).toContain('…/archive.tar')
    }
    const waited = await rawRequest(port, {
      method: 'POST',
      path: '/v1/captures?wait=true',
      headers: [['Content-Type', 'application/json']],
      body: '{"namespace":"shop","pod":"web-node-a"}',
    })
    expect(waited.status).toBe(500)
    expectNothingOfTheNode(waited)
    expect(JSON.parse(waited.body)).toMatchObject({
      detail: String.raw`Cannot write …/archive.tara\x1b[2J\u{9b}1m\u{202e}b\u{2066}c\u{e0041}d\u{2028}e`,
      hint: 'As root on the node: chown root: …/archive.tar',
    })
  })

  it('is told of the runtime without the path of its socket', async () => {
    const reason = 'Cannot reach the container runtime: there is no socket at /run/containerd/containerd.sock'
    const node = { status: async () => ({ ...NODE, canCheckpoint: { state: 'unknown', reason } as const }) }
    const answer = await rawRequest(await startApp({ node }), { method: 'GET', path: '/v1/node' })
    expectNothingOfTheNode(answer)
    expect(JSON.parse(answer.body)).toMatchObject({
      canCheckpoint: { reason: 'Cannot reach the container runtime: there is no socket at …/containerd.sock' },
    })
  })

  it('is told of a sweep without paths', async () => {
    const left = {
      count: 1,
      archives: [{ id: '1', fileName: 'a', code: 'PruneFailed', reason: `EROFS: read-only, unlink '${PATH}'` }],
    }
    const report = { ...SWEEP, failed: left, skipped: left, error: { code: 'Unclassified', detail: `EIO, ${PATH}` } }
    const retention = {
      status: () => ({ policy: {}, mistakes: [], isSweeping: false, nextSweepAt: undefined, lastSweep: report }),
      sweep: async () => report,
      history: () => ({ reports: [report], remaining: 0 }),
    }
    const port = await startApp({ retention })
    for (const [method, path] of [
      ['GET', '/v1/retention'],
      ['POST', '/v1/retention/sweep'],
      ['GET', '/v1/retention/history'],
    ] as const) {
      const answer = await rawRequest(port, { method, path })
      expect(answer.status).toBe(200)
      expectNothingOfTheNode(answer)
      expect(answer.body).toContain('…/archive.tar')
    }
  })
})

describe('what is wrong with a request', () => {
  it.each([
    [
      'a media type',
      { method: 'POST', path: '/v1/captures', headers: [['Content-Type', 'a\u009b31m']] as const, body: '{}' },
    ],
    ['a query', { method: 'GET', path: '/v1/node?%1b%5b2J=%e2%80%ae' }],
    ['a path', { method: 'GET', path: '/v1/%1b%5b2J%e2%80%ae' }],
    [
      'a name',
      { ...jsonPost(), body: escapeInJson(JSON.stringify({ namespace: OFFENSIVE, pod: OFFENSIVE, [OFFENSIVE]: 1 })) },
    ],
  ])('is told so that nothing of it reaches a terminal: %s', async (_, request) => {
    const answer = await rawRequest(await startApp(), request)
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expectNothingOfTheNode(answer)
  })

  it('may name a path that the request names', async () => {
    const answer = await rawRequest(await startApp(), { method: 'GET', path: '/v1/var/lib/kubelet' })
    expect(JSON.parse(answer.body)).toMatchObject({
      detail: 'Cannot find "/v1/var/lib/kubelet": there is no such route',
    })
  })
})

function jsonPost() {
  return { method: 'POST', path: '/v1/captures', headers: [['Content-Type', 'application/json']] as const }
}

const NODE = {
  node: 'node-a',
  agentVersion: '0',
  runtime: undefined,
  disk: { totalBytes: 1, freeBytes: 1, archiveBytes: 0, floorBytes: 0 },
  checkpoints: { count: 0, byState: {} },
  captures: { running: 0, queued: 0, queueLimit: 64, unpublished: 0 },
  freezeGuard: { policy: 'report', frozenNow: 0, resumedTotal: 0, foreignResumedTotal: 0, canLook: true },
  custody: { keyId: '', publicKey: '' },
  tlsFingerprint: undefined,
} as const

const SWEEP = {
  id: '01KAAAAAAAAAAAAAAAAAAAAAAA',
  startedAt: '2026-01-31T12:00:00.000Z',
  millis: 1,
  trigger: 'api',
  user: 'x',
  planId: '0'.repeat(32),
  outcome: 'failed',
  removed: { count: 0, bytes: 0 },
  byRule: {},
  blocked: [],
  diskNotOurs: false,
} as const

/** Every service throws it; those that the way to a route needs do not. */
function allFail(failure: unknown, { id }: Operation): ServiceChanges {
  const fail = () => {
    // oxlint-disable-next-line typescript/only-throw-error -- whatever it is
    throw failure
  }
  const reject = async () => fail()
  return {
    node: { status: reject },
    containers: { look: reject },
    captures: { request: reject, wait: reject, list: fail, get: fail, cancel: reject },
    checkpoints: {
      list: fail,
      get: id === 'getCheckpoint' ? fail : () => checkpoint(),
      members: reject,
      watch: fail,
      namespaces: () => [],
    },
    actions: { pin: reject, unpin: reject, verify: reject, remove: reject },
    contents: { openArchive: reject, openMember: reject, readRootfsDiff: reject },
    custody: { page: reject, head: reject, verify: reject, export: fail, manifest: fail },
    retention: { status: fail, plan: reject, sweep: reject, history: fail },
    metrics: reject,
  }
}

async function ask(port: number, { method, path, body, id }: Operation): Promise<RawAnswer> {
  return rawRequest(port, {
    method: id === 'watch' ? 'HEAD' : method.toUpperCase(),
    path: path.replaceAll(/\{\w+\}/g, 'x'),
    headers: body === undefined ? [] : [['Content-Type', 'application/json']],
    ...(body !== undefined && { body: id === 'createCapture' ? '{"namespace":"shop","pod":"web-node-a"}' : '{}' }),
  })
}

function expectNothingOfTheNode({ headers, body }: RawAnswer): void {
  const text = `${JSON.stringify(headers)}${body}`
  expect(text).not.toMatch(/\/var\/lib|\/run\/|secret-folder|node_modules|node:internal|\.ts:\d|\bat \S+ \(/)
  expect(body).toMatch(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u)
  expect(() => JSON.parse(body === '' ? '{}' : body)).not.toThrow()
}
