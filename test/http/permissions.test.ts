import { METHODS } from 'node:http'
import { describe, expect, it } from 'vitest'
import { OPEN_TO_ALL } from '../../src/access/access.ts'
import type { Question } from '../../src/access/question.ts'
import type { Operation } from '../../src/api/operation.ts'
import { operationList } from '../../src/api/operations.ts'
import { UnavailableError } from '../../src/shared/errors.ts'
import { counter, startApp, webPodKubelet } from './http-services.ts'
import { rawRequest, type RawAnswer } from './raw-request.ts'
import { accessOf, OURS, ROLES, serve, THEIRS, UNBELIEVED } from './role-services.ts'

/** The table of docs/concepts/access.md: who may call what, beside whoever is let in by each of them. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  kubeletCheckpoint: ['taker', 'everywhere', 'kubelet'],
  getNode: Object.keys(ROLES),
  getAccess: Object.keys(ROLES),
  getOpenApi: Object.keys(ROLES),
  listContainers: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  createCapture: ['taker', 'everywhere'],
  listCaptures: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  getCapture: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  cancelCapture: ['keeper', 'everywhere'],
  listCheckpoints: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  getCheckpoint: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  deleteCheckpoint: ['keeper', 'everywhere'],
  pinCheckpoint: ['keeper', 'everywhere'],
  unpinCheckpoint: ['keeper', 'everywhere'],
  verifyCheckpoint: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  listCheckpointMembers: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  getCheckpointArchive: ['forensics', 'content', 'nodeContent'],
  getCheckpointMember: ['forensics', 'content', 'nodeContent'],
  listRootfsDiff: ['forensics', 'content', 'nodeContent'],
  watch: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  getManifest: ['viewer', 'taker', 'forensics', 'keeper', 'everywhere', 'nodeViewer'],
  listCustody: ['auditor'],
  verifyCustody: ['auditor'],
  getCustodyHead: ['auditor'],
  exportCustody: ['auditor'],
  getRetention: ['planner', 'sweeper'],
  planRetention: ['planner'],
  sweep: ['sweeper'],
  listSweeps: ['planner', 'sweeper'],
  getMetrics: ['prometheus'],
  getHealth: [...Object.keys(ROLES), 'stranger'],
  getReadiness: [...Object.keys(ROLES), 'stranger'],
}

const UNAVAILABLE = { status: 503, said: 'AuthorizationUnavailable' }

/** Those that need no permission, one that speaks as the kubelet, and one whose head alone is asked for. */
const WHILE_DOWN: Readonly<Record<string, object>> = {
  getNode: { status: 200, said: undefined },
  getOpenApi: { status: 200, said: undefined },
  watch: { status: 503, said: undefined },
  kubeletCheckpoint: {
    status: 500,
    said: 'Authorization error (user=keeper, verb=create, resource=nodes, subresource=checkpoint)',
  },
}

describe('every operation', () => {
  it('is in the table', () => {
    expect(operationList.map(({ id }) => id).toSorted()).toEqual(Object.keys(ALLOWED).toSorted())
  })

  it.each(operationList)('$method $path lets in whom the table names', async (operation) => {
    const port = await startApp(serve())
    const statuses: Record<string, number> = {}
    for (const role of [...Object.keys(ROLES), 'stranger']) {
      const answer = await ask(port, operation, role)
      statuses[role] = answer.status
      if (answer.status === 403) expectForbidden(operation, answer)
    }
    const { stranger, ...known } = statuses
    const letIn = Object.keys(known).filter((role) => known[role] !== 403)
    expect(letIn.toSorted()).toEqual((ALLOWED[operation.id] ?? []).filter((role) => role !== 'stranger').toSorted())
    for (const role of letIn) expect(known[role], `${role} got an answer of the route itself`).toBeLessThan(300)
    expect(stranger).toBe(ALLOWED[operation.id]?.includes('stranger') === true ? 200 : 401)
  })

  it.each(operationList.filter(({ permission }) => permission.kind !== 'open'))(
    '$method $path allows nothing while nobody can be asked',
    async (operation) => {
      const port = await startApp(serve({ isDown: true }))
      const answer = await ask(port, operation, 'keeper')
      expect({ status: answer.status, said: codeOf(answer) }).toEqual(WHILE_DOWN[operation.id] ?? UNAVAILABLE)
    },
  )

  it.each(METHODS.filter((method) => method !== 'CONNECT'))(
    '%s is 405 where it is none, and 401 first',
    async (method) => {
      const port = await startApp(serve())
      for (const path of new Set(operationList.map((operation) => operation.path))) {
        const here = operationList.filter((operation) => operation.path === path)
        if (here.some((operation) => operation.permission.kind === 'kubelet')) continue
        const allowed = here.flatMap((operation) =>
          operation.method === 'get' ? ['GET', 'HEAD'] : [operation.method.toUpperCase()],
        )
        if (allowed.includes(method)) continue
        const target = pathOf(here[0] as Operation)
        const stranger = await rawRequest(port, { method, path: target })
        expect({ path, status: stranger.status, code: codeOf(stranger) }).toEqual({
          path,
          status: 401,
          code: saidTo(method, 'Unauthenticated'),
        })
        const known = await rawRequest(port, { method, path: target, headers: as('nobody') })
        expect({ path, status: known.status, code: codeOf(known) }).toEqual({
          path,
          status: 405,
          code: saidTo(method, 'MethodNotAllowed'),
        })
        expect(known.headers['allow']?.split(', ').toSorted()).toEqual(allowed.toSorted())
      }
    },
  )

  it.each([
    '/',
    '/v2',
    '/v1',
    '/v1/checkpoints/',
    '/V1/node',
    '/v1/node/',
    '/v1/checkpoints/x/members/',
    '/%2e%2e/v1/node',
  ])('and %s, which is none, tells strangers nothing', async (path) => {
    const port = await startApp(serve())
    expect((await rawRequest(port, { method: 'GET', path })).status).toBe(401)
    expect((await rawRequest(port, { method: 'GET', path, headers: as('nobody') })).status).toBe(404)
  })

  it.each(operationList.filter(({ method }) => method === 'get'))('HEAD $path is as GET', async (operation) => {
    const port = await startApp(serve())
    for (const role of ['stranger', 'nobody']) {
      const head = await rawRequest(port, { method: 'HEAD', path: pathOf(operation), headers: as(role) })
      expect(head.status).toBe((await ask(port, operation, role)).status)
    }
  })
})

describe('the kubelet route', () => {
  it('says what the kubelet says', async () => {
    const port = await startApp(serve())
    const path = '/checkpoint/shop/web-node-a/counter'
    expect(await rawRequest(port, { method: 'POST', path })).toMatchObject({ status: 401, body: 'Unauthorized' })
    for (const [method, verb] of [
      ['POST', 'create'],
      ['GET', 'get'],
      ['DELETE', 'delete'],
      ['OPTIONS', ''],
    ] as const) {
      const answer = await rawRequest(port, { method, path, headers: as('nobody') })
      expect(answer).toMatchObject({
        status: 403,
        body: `Forbidden (user=nobody, verb=${verb}, resource=nodes, subresource(s)=[checkpoint])\n`,
      })
      expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8')
    }
    expect((await rawRequest(port, { method: 'GET', path, headers: as('taker') })).status).toBe(403)
    expect((await rawRequest(port, { method: 'POST', path: '/checkpoint/x', headers: as('taker') })).status).toBe(403)
    expect((await rawRequest(port, { method: 'POST', path: '/checkpoint/x', headers: as('kubelet') })).status).toBe(404)
    const other = { method: 'POST', path: '/checkpoint/bank/web/x', headers: as('taker') }
    expect((await rawRequest(port, other)).status).toBe(403)
  })

  it('asks nobody for a name where it is off, or where the path is another', async () => {
    const port = await startApp({ ...serve(), kubelet: webPodKubelet({ enabled: false }) })
    expect(await rawRequest(port, { method: 'POST', path: '/checkpoint/a/b/c' })).toMatchObject({ status: 404 })
    const on = await startApp(serve())
    expect(await rawRequest(on, { method: 'POST', path: '/checkpoint//a/b/c' })).toMatchObject({ status: 307 })
  })

  it('says 401 where it cannot be found out whose token it is', async () => {
    const port = await startApp({ ...serve(), access: { ...OPEN_TO_ALL, authenticate: cannotTell } })
    const answer = await rawRequest(port, { method: 'POST', path: '/checkpoint/shop/web-node-a/counter' })
    expect(answer).toMatchObject({ status: 401, body: 'Unauthorized' })
  })
})

describe('an id', () => {
  it.each(['/v1/checkpoints/ID', '/v1/checkpoints/ID/archive', '/v1/checkpoints/ID/members/x', '/v1/captures/ID'])(
    'of something else and one of nothing get the same answer: %s',
    async (path) => {
      const port = await startApp(serve())
      const answers = await Promise.all(
        [OURS, UNBELIEVED, 'nothing'].map((id) => {
          return rawRequest(port, { method: 'GET', path: path.replace('ID', id), headers: as('foreigner') })
        }),
      )
      expect(answers.map(({ status }) => status)).toEqual([403, 403, 403])
      expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
      expect(answers[0]?.body).not.toMatch(/shop|counter/)
    },
  )

  it('that does not exist is a 404 for who sees the whole node', async () => {
    const port = await startApp(serve())
    const get = (path: string, role: string) => rawRequest(port, { method: 'GET', path, headers: as(role) })
    expect((await get('/v1/checkpoints/nothing', 'nodeViewer')).status).toBe(404)
    expect((await get('/v1/captures/nothing', 'nodeViewer')).status).toBe(404)
    expect((await get('/v1/checkpoints/nothing', 'everywhere')).status).toBe(403)
  })

  it("of an archive that only claims to be of a namespace is the whole node's alone", async () => {
    const port = await startApp(serve())
    const get = (role: string) =>
      rawRequest(port, { method: 'GET', path: `/v1/checkpoints/${UNBELIEVED}`, headers: as(role) })
    expect((await get('viewer')).status).toBe(403)
    expect((await get('everywhere')).status).toBe(403)
    expect((await get('nodeViewer')).status).toBe(200)
  })
})

describe('a refusal', () => {
  it('names the permission that is missing', async () => {
    const port = await startApp(serve())
    const missing = async (path: string, role = 'viewer') => {
      const { body } = await rawRequest(port, { method: 'GET', path, headers: as(role) })
      return (JSON.parse(body) as { missingPermission: unknown }).missingPermission
    }
    const group = 'checkpoint-agent.dev'
    expect(await missing('/v1/checkpoints?namespace=bank')).toEqual({
      verb: 'list',
      group,
      resource: 'checkpoints',
      namespace: 'bank',
    })
    expect(await missing(`/v1/checkpoints/${OURS}/archive`)).toEqual({
      verb: 'get',
      group,
      resource: 'checkpoints/proxy',
    })
    expect(await missing('/v1/custody')).toEqual({
      verb: 'get',
      group,
      resource: 'checkpointnodes/custody',
      name: 'node-a',
    })
    expect(await missing('/metrics')).toEqual({ verb: 'get', group: '', resource: 'nodes/metrics', name: 'node-a' })
  })

  it('of a capture names the namespace that was asked for', async () => {
    const port = await startApp(serve())
    const answer = await rawRequest(port, {
      method: 'POST',
      path: '/v1/captures',
      headers: [...as('taker'), JSON_BODY],
      body: '{"namespace":"bank","pod":"web"}',
    })
    expect(answer.status).toBe(403)
    expect(JSON.parse(answer.body)).toMatchObject({
      code: 'Forbidden',
      detail: 'Cannot do this: "taker" may not create checkpoints in namespace "bank"',
      missingPermission: { verb: 'create', resource: 'checkpoints', namespace: 'bank' },
    })
  })

  it('of a capture that is to be kept needs the permission to pin as well', async () => {
    const port = await startApp(serve())
    const capture = (role: string, pin: boolean) =>
      rawRequest(port, {
        method: 'POST',
        path: '/v1/captures',
        headers: [...as(role), JSON_BODY],
        body: JSON.stringify({ namespace: 'shop', pod: 'web', pin }),
      })
    expect((await capture('taker', false)).status).toBe(202)
    const refused = await capture('taker', true)
    expect(refused.status).toBe(403)
    expect(JSON.parse(refused.body)).toMatchObject({
      code: 'Forbidden',
      missingPermission: { verb: 'update', resource: 'checkpoints', namespace: 'shop' },
    })
    expect((await capture('everywhere', true)).status).toBe(202)
  })

  it('without credentials says which are wanted', async () => {
    const port = await startApp(serve())
    const answer = await rawRequest(port, { method: 'GET', path: '/v1/node' })
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="checkpoint-agent"')
    expect(JSON.parse(answer.body)).toMatchObject({ status: 401, code: 'Unauthenticated' })
  })
})

describe('lists', () => {
  it('leave out what the caller may not see', async () => {
    const port = await startApp(serve())
    const idsOf = async (path: string, role: string) => {
      const { body } = await rawRequest(port, { method: 'GET', path, headers: as(role) })
      return (JSON.parse(body) as { items: { id?: string; containerId?: string }[] }).items.map(
        ({ id, containerId }) => id ?? containerId,
      )
    }
    expect(await idsOf('/v1/checkpoints', 'viewer')).toEqual([OURS])
    expect(await idsOf('/v1/checkpoints?namespace=shop', 'viewer')).toEqual([OURS])
    expect(await idsOf('/v1/checkpoints', 'foreigner')).toEqual([THEIRS])
    expect(await idsOf('/v1/checkpoints', 'everywhere')).toEqual([OURS, THEIRS])
    expect(await idsOf('/v1/checkpoints', 'nodeViewer')).toEqual([OURS, THEIRS, UNBELIEVED])
    expect(await idsOf('/v1/containers', 'viewer')).toEqual([counter.containerId])
    expect(await idsOf('/v1/containers', 'foreigner')).toEqual(['theirs'])
    expect(await idsOf('/v1/containers?namespace=bank', 'nodeViewer')).toEqual(['theirs'])
    expect(await idsOf('/v1/captures', 'viewer')).toEqual(['job-a', 'job-c'])
    expect(await idsOf('/v1/captures?limit=1', 'foreigner')).toEqual(['job-b'])
    expect(await idsOf('/v1/captures?namespace=shop', 'nodeViewer')).toEqual(['job-a', 'job-c'])
  })

  it('of a namespace that has nothing are empty for who may see it, and refused to others', async () => {
    const port = await startApp({ ...serve(), access: accessOf({ ada: ['list checkpoints in empty'] }) })
    const get = (path: string) => rawRequest(port, { method: 'GET', path, headers: as('ada') })
    expect(JSON.parse((await get('/v1/containers?namespace=empty')).body)).toEqual({ items: [] })
    expect((await get('/v1/containers')).status).toBe(403)
    expect((await get('/v1/containers?namespace=shop')).status).toBe(403)
  })

  it('ask about each namespace only where they have to', async () => {
    const asked: string[] = []
    const port = await startApp({ ...serve(), access: accessOf(ROLES, { asked }) })
    await rawRequest(port, { method: 'GET', path: '/v1/checkpoints', headers: as('nodeViewer') })
    expect(asked.splice(0)).toEqual(['list checkpointnodes/checkpoints of node-a'])
    await rawRequest(port, { method: 'GET', path: '/v1/checkpoints', headers: as('everywhere') })
    expect(asked.splice(0)).toHaveLength(2)
    await rawRequest(port, { method: 'GET', path: '/v1/checkpoints', headers: as('viewer') })
    expect(asked.splice(0)).toHaveLength(4)
  })
})

describe('GET /v1/access', () => {
  it('tells what the caller may do', async () => {
    const port = await startApp(serve())
    const answer = await rawRequest(port, {
      method: 'GET',
      path: '/v1/access?namespace=shop',
      headers: as('forensics'),
    })
    const body = JSON.parse(answer.body) as { permissions: (Question & { allowed: boolean })[] }
    expect(body).toMatchObject({ user: 'forensics', groups: ['testers'], node: 'node-a', namespace: 'shop' })
    expect(body.permissions).toHaveLength(20)
    expect(
      body.permissions.filter(({ allowed }) => allowed).map(({ verb, resource }) => `${verb} ${resource}`),
    ).toEqual(['get checkpoints', 'list checkpoints', 'watch checkpoints', 'get checkpoints/proxy'])
  })
})

function as(role: string): (readonly [string, string])[] {
  return role === 'stranger' ? [] : [['authorization', `Bearer ${role}`]]
}

const JSON_BODY = ['content-type', 'application/json'] as const

function pathOf({ path, permission }: Operation): string {
  const named = { namespace: 'shop', pod: 'web-node-a', container: 'counter', name: 'a/b', id: OURS }
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => named[name as keyof typeof named])
  // Others may see rows of their own without it.
  return permission.kind === 'rows' ? `${filled}?namespace=shop` : filled
}

async function ask(port: number, operation: Operation, role: string): Promise<RawAnswer> {
  const body = operation.body === undefined ? undefined : '{"namespace":"shop","pod":"web-node-a"}'
  const sent = operation.id === 'createCapture' ? body : operation.body && '{}'
  // The head is enough of a stream that does not end.
  const method = operation.id === 'watch' ? 'HEAD' : operation.method.toUpperCase()
  return rawRequest(port, {
    method,
    path: pathOf(operation),
    headers: [...as(role), ...(sent === undefined ? [] : [JSON_BODY])],
    ...(sent !== undefined && { body: sent }),
  })
}

function expectForbidden({ id }: Operation, answer: RawAnswer): void {
  const said = FORBIDDEN[id] ?? 'Forbidden'
  expect(codeOf(answer) ?? '').toMatch(new RegExp(said))
  expect(answer.body).not.toMatch(/\/var\/|\/work\/|\.ts:\d/)
}

const FORBIDDEN: Readonly<Record<string, string>> = {
  watch: '^$',
  kubeletCheckpoint: String.raw`^Forbidden \(user=\w+, verb=create, resource=nodes, subresource\(s\)=\[checkpoint\]\)\n$`,
}

/** The code of a problem, or the kubelet's text. */
function codeOf({ headers, body }: RawAnswer): string | undefined {
  if (body === '') return undefined
  return headers['content-type']?.startsWith('text/plain') === true
    ? body
    : (JSON.parse(body) as { code?: string }).code
}

/** A head alone says nothing. */
function saidTo(method: string, code: string): string | undefined {
  return method === 'HEAD' ? undefined : code
}

async function cannotTell(): Promise<never> {
  throw new UnavailableError('down', { code: 'AuthorizationUnavailable' })
}
