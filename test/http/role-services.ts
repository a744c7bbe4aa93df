import { Readable } from 'node:stream'
import { OPEN_TO_ALL, type Access } from '../../src/access/access.ts'
import type { Principal } from '../../src/access/principal.ts'
import { resourceName } from '../../src/access/question.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { NotFoundError, UnavailableError } from '../../src/shared/errors.ts'
import { checkpoint, counter, job, lookOf, succeeded, type ServiceChanges } from './http-services.ts'

/** What a role allows, as `verb resource` with the namespace or the node behind it. */
export type Roles = Readonly<Record<string, readonly string[]>>

const METADATA = ['get', 'list', 'watch'].map((verb) => `${verb} checkpoints in shop`)

export const ROLES: Roles = {
  nobody: [],
  viewer: METADATA,
  taker: [...METADATA, 'create checkpoints in shop'],
  forensics: [...METADATA, 'get checkpoints/proxy in shop'],
  content: ['get checkpoints/proxy in shop'],
  keeper: [...METADATA, 'update checkpoints in shop', 'delete checkpoints in shop'],
  foreigner: ['get', 'list', 'watch', 'create', 'update', 'delete'].flatMap((verb) => [
    `${verb} checkpoints in bank`,
    `${verb} checkpoints/proxy in bank`,
  ]),
  everywhere: ['get', 'list', 'create', 'update', 'delete'].map((verb) => `${verb} checkpoints in `),
  nodeViewer: ['get', 'list'].map((verb) => `${verb} checkpointnodes/checkpoints of node-a`),
  nodeContent: ['get checkpointnodes/proxy of node-a'],
  otherNode: ['get', 'list', 'create'].map((verb) => `${verb} checkpointnodes/checkpoints of node-b`),
  auditor: ['get checkpointnodes/custody of node-a'],
  planner: ['get', 'create'].map((verb) => `${verb} checkpointnodes/retention of node-a`),
  sweeper: ['get', 'delete'].map((verb) => `${verb} checkpointnodes/retention of node-a`),
  prometheus: ['get nodes/metrics of node-a'],
  kubelet: ['create nodes/checkpoint of node-a'],
}

const PLAN = {
  id: '0'.repeat(32),
  blocked: [],
  diskNotOurs: false,
  totals: { archives: 0, bytes: 0, removedArchives: 0, removedBytes: 0 },
}

const SWEEP = {
  id: '01KAAAAAAAAAAAAAAAAAAAAAAA',
  startedAt: '2026-01-31T12:00:00.000Z',
  millis: 1,
  trigger: 'api',
  user: 'sweeper',
  planId: PLAN.id,
  outcome: 'done',
  removed: { count: 0, bytes: 0 },
  byRule: {},
  failed: { count: 0, archives: [] },
  skipped: { count: 0, archives: [] },
  blocked: [],
  diskNotOurs: false,
} as const

export const OURS = '9f2c4e5a7b1d3c60'
export const THEIRS = 'aaaaaaaaaaaaaaaa'
export const UNBELIEVED = 'bbbbbbbbbbbbbbbb'

const checkpoints: readonly Checkpoint[] = [
  checkpoint(),
  checkpoint({ id: THEIRS, identity: { ...counter, namespace: 'bank', source: 'archive', isTrusted: true } }),
  checkpoint({ id: UNBELIEVED, identity: { ...counter, source: 'archive', isTrusted: false } }),
]

/** Archives, containers and jobs of two namespaces, for callers with the roles above. */
export function serve({ isDown = false } = {}): ServiceChanges {
  const their = { ...counter, namespace: 'bank', containerId: 'theirs' }
  const done = job({ captures: [succeeded] })
  const jobs = ['shop', 'bank', 'shop'].map((namespace, index) => {
    const id = `job-${'abc'[index] ?? ''}`
    return { ...done, id, captures: [{ ...succeeded, identity: { ...counter, namespace } }] }
  })
  const running = [counter, their].map((identity) => ({
    identity,
    image: 'busybox',
    startedAt: undefined,
    memoryBytes: undefined,
    writableLayerBytes: undefined,
    lastCheckpoint: undefined,
    captureInFlight: undefined,
  }))
  const content = {
    sizeBytes: 0,
    generation: checkpoint().generation,
    recipients: [],
    send: async ({ start }: { start: () => { end: () => Promise<void> } }) => start().end(),
    close: async () => {},
  }
  return {
    access: accessOf(ROLES, { isDown }),
    containers: { look: async () => lookOf(running) },
    node: {
      status: async () => ({
        node: 'node-a',
        agentVersion: '0',
        runtime: undefined,
        canCheckpoint: { state: 'unknown' },
        disk: { totalBytes: 1, freeBytes: 1, archiveBytes: 0, floorBytes: 0 },
        checkpoints: { count: 0, byState: {} },
        captures: { running: 0, queued: 0, queueLimit: 64, unpublished: 0 },
        freezeGuard: { policy: 'report', frozenNow: 0, resumedTotal: 0, foreignResumedTotal: 0, canLook: true },
        custody: { keyId: '', publicKey: '' },
        tlsFingerprint: undefined,
      }),
    },
    captures: {
      request: async () => done,
      namespaces: () => ['shop', 'bank'],
      list: ({ limit, before, namespaces }) => {
        const seen = jobs.filter(
          ({ captures: [first] }) => namespaces?.includes(first?.identity.namespace ?? '') ?? true,
        )
        const rest = before === undefined ? seen : seen.slice(seen.findIndex(({ id }) => id === before) + 1)
        return { jobs: rest.slice(0, limit), remaining: Math.max(0, rest.length - limit) }
      },
      get: (id) => {
        if (id !== OURS && id !== UNBELIEVED) throw new NotFoundError('Cannot find it', { code: 'CaptureNotFound' })
        return done
      },
      cancel: async () => done,
    },
    checkpoints: {
      list: ({ filter: { namespace, belongsTo } }) => ({
        items: checkpoints.filter(({ identity }) => {
          const isMeant = namespace === undefined || identity.namespace === namespace
          if (belongsTo === undefined) return isMeant
          const isAmong = belongsTo === 'any' || belongsTo.includes(identity.namespace ?? '')
          return isMeant && identity.isTrusted && isAmong
        }),
        remaining: 0,
        next: undefined,
      }),
      namespaces: () => ['bank', 'shop'],
      get: find,
      members: async () => ({ members: [], remaining: 0, problems: [] }),
      watch: () => () => {},
    },
    retention: {
      status: () => ({ policy: {}, mistakes: [], isSweeping: false, nextSweepAt: undefined, lastSweep: undefined }),
      plan: async () => ({ head: PLAN, page: async () => [], [Symbol.dispose]: () => {} }),
      sweep: async () => SWEEP,
      history: () => ({ reports: [], remaining: 0 }),
    },
    actions: {
      pin: async (pinned) => pinned,
      unpin: async (pinned) => pinned,
      remove: async () => {},
      verify: async () => ({
        isIntact: true,
        sha256: '',
        sizeBytes: 0,
        index: undefined,
        custody: undefined,
        problems: [],
      }),
    },
    contents: {
      openArchive: async () => content,
      openMember: async () => content,
      readRootfsDiff: async () => ({ isThere: false, changes: [], remaining: 0, isComplete: true, problems: [] }),
    },
    custody: {
      page: async () => ({ entries: [], next: undefined }),
      head: async () => ({ payloadType: '', payload: '', signatures: [] }),
      verify: async () => ({
        verdict: 'authentic',
        notChecked: [],
        problems: [],
        problemCount: 0,
        files: 0,
        entries: 0,
        first: undefined,
        last: undefined,
        head: undefined,
        authenticatedSeq: undefined,
        keyId: undefined,
        foundKeyId: undefined,
      }),
      export: () => Readable.from([]),
      manifest: () => ({ payloadType: '', payload: '', signatures: [] }),
    },
    metrics: async () => ({ contentType: 'text/plain', text: '' }),
  }
}

function find(id: string): Checkpoint {
  const found = checkpoints.find((each) => each.id === id)
  if (found === undefined) throw new NotFoundError('Cannot find it', { code: 'CheckpointNotFound' })
  return found
}

/** The name of the role is the token. */
export function accessOf(
  roles: Roles,
  { asked = [], isDown = false }: { asked?: string[]; isDown?: boolean } = {},
): Access {
  const principals = new Map(
    Object.keys(roles).map((user): [string, Principal] => [`Bearer ${user}`, { user, groups: ['testers'] }]),
  )
  const until = Number.POSITIVE_INFINITY
  return {
    ...OPEN_TO_ALL,
    authenticate: ({ authorization = '' }) => {
      const principal = principals.get(authorization)
      return principal && { principal, until }
    },
    authorizer: {
      decide: async (principal, question) => {
        if (isDown) throw new UnavailableError('down', { code: 'AuthorizationUnavailable' })
        const place = question.name === undefined ? `in ${question.namespace ?? ''}` : `of ${question.name}`
        const wanted = `${question.verb} ${resourceName(question)} ${place}`
        asked.push(wanted)
        const isCovered = `${question.verb} ${resourceName(question)} in `
        const granted = roles[principal.user] ?? []
        const isAllowed = granted.includes(wanted) || (question.name === undefined && granted.includes(isCovered))
        return { isAllowed, until }
      },
    },
  }
}
