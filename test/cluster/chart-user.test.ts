import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { kubectl, runCounter } from './agent-pods.ts'
import { useChart } from './chart-fixture.ts'
import { cluster } from './cluster-harness.ts'
import { certificateUser, type ClusterUser, RECIPE, serviceAccountUser } from './cluster-users.ts'
import { manifestOf } from './docs-recipes.ts'
import { captureIn, listCheckpoints, type ListedCheckpoint } from './installed-agents.ts'
import { NAMESPACE } from './installed-chart.ts'

// Users with rights in the namespace "shop" and nowhere else, who come in by the commands of docs/guides/give-a-team-access.md.

const ALLOW_MS = 4000
const DENY_MS = 1000
const TOKEN_MS = 2000
/** The API server's own memory of tokens, which nothing can shorten. */
const API_SERVER_MS = 10_000
const SLACK_MS = 2000

const VALUES = {
  access: { connect: ['shop-developers', 'system:serviceaccounts:shop'] },
  config: { server: { auth: { allowTtl: `${ALLOW_MS}ms`, denyTtl: `${DENY_MS}ms`, tokenTtl: `${TOKEN_MS}ms` } } },
}

const [, , , ASK_ACCESS = '', TAKE = '', LIST = '', DOWNLOAD = '', DIGEST = '', DELETE = ''] = RECIPE

const OURS = { group: 'checkpoint-agent.dev', resource: 'checkpoints' }
const CONTENT = { group: 'checkpoint-agent.dev', resource: 'checkpoints/proxy' }

const access = z.looseObject({
  user: z.string(),
  permissions: z.array(z.looseObject({ verb: z.string(), resource: z.string(), allowed: z.boolean() })),
})

const { folderOf } = useChart(VALUES)

/** Of the namespace "bank". */
let theirs: ListedCheckpoint

beforeAll(async () => {
  await cluster.apply(`${manifestOf('name: checkpoint-owner')}---\n${manifestOf('name: checkpoints, namespace: shop')}`)
  await kubectl(['create', 'serviceaccount', 'me'])
  await bindOwner('ada', '--user=ada')
  await bindOwner('me', '--serviceaccount=shop:me')
  await runCounter('a', 'bank')
  theirs = await captureIn('bank', 'a', 'counter-a')
})

afterAll(async () => {
  await kubectl(['delete', 'rolebinding', 'ada', 'me', 'checkpoints', '--ignore-not-found'])
  await kubectl(['delete', 'role/checkpoint-owner', 'serviceaccount/me', '--ignore-not-found'])
  await cluster.kubectl(['delete', 'namespace', 'bank', '--wait=false'])
})

describe.each([
  { by: 'certificate', name: 'ada', makeUser: () => certificateUser('ada', ['shop-developers']) },
  { by: 'token', name: 'system:serviceaccount:shop:me', makeUser: serviceAccountUser },
])('a user of one namespace, known by $by', ({ name, makeUser }) => {
  let user: ClusterUser

  beforeAll(async () => {
    user = await makeUser()
    const leave = await user.comeIn('a')
    return async () => {
      await leave()
      user.forget()
    }
  })

  it.each([
    'kubectl get nodes',
    'kubectl get --raw /api/v1/nodes/node-a/proxy/pods',
    'kubectl create --raw /api/v1/nodes/node-a/proxy/checkpoint/shop/counter-a/main -f /dev/null',
    'kubectl -n shop get secrets',
    'kubectl -n shop exec counter-a -- true',
    `kubectl -n ${NAMESPACE} exec daemonset/checkpoint-agent -- node --version`,
    `kubectl -n ${NAMESPACE} delete pod --all`,
  ])('has no right beside: %s', async (command) => {
    expect(await user.run(command)).toMatchObject({ code: 1, stderr: expect.stringContaining('Forbidden') as string })
  })

  it('is told what it may do', async () => {
    const { user: me, permissions } = access.parse(JSON.parse(await run(ASK_ACCESS)))
    expect(me).toBe(name)
    const may = permissions.filter(({ allowed }) => allowed).map(({ verb, resource }) => `${verb} ${resource}`)
    const metadata = ['get', 'list', 'watch', 'create', 'update', 'delete'].map((verb) => `${verb} checkpoints`)
    expect(may.toSorted()).toEqual([...metadata, 'get checkpoints/proxy'].toSorted())
  })

  it('takes, lists, downloads and deletes a checkpoint of its own namespace', async () => {
    const taken = itemsOf(await run(TAKE.replace('web-0', 'counter-a').replace('"counter"', '"main"')))
    const [{ id = '' } = {}] = taken
    await expect
      .poll(async () => itemsOf(await run(LIST)))
      .toMatchObject([{ id, state: 'ready', identity: { namespace: 'shop', pod: 'counter-a', source: 'observed' } }])
    const [{ fileName = '', sha256 = '' } = {}] = itemsOf(await run(LIST))
    expect(sha256).toBe(await folderOf('a').digestOf(fileName))

    await run(DOWNLOAD.replace('9f2c4e5a7b1d3c60', id))
    const [digest] = (await run(DIGEST.replace('web-0_shop-counter', 'counter-a_shop-main'))).split(' ')
    expect(digest).toBe(sha256)

    await run(DELETE.replace('9f2c4e5a7b1d3c60', id))
    expect(itemsOf(await run(LIST))).toEqual([])
    expect(folderOf('a').list().has(fileName)).toBe(false)
  })

  it('sees in the list of the whole node what is of its own namespace', async () => {
    const ours = await captureIn('shop', 'a', 'counter-a')
    expect((await listCheckpoints('a')).map(({ id }) => id)).toEqual(expect.arrayContaining([ours.id, theirs.id]))
    const { status, body } = await user.ask('GET', '/v1/checkpoints')
    expect({ status, ids: itemsOf(JSON.stringify(body)).map(({ id }) => id) }).toEqual({ status: 200, ids: [ours.id] })
    expect(await user.ask('DELETE', `/v1/checkpoints/${ours.id}`)).toMatchObject({ status: 204 })
  })

  it.each([
    { method: 'POST', path: '/v1/captures', missing: { verb: 'create', ...OURS, namespace: 'bank' } },
    { method: 'GET', path: '/v1/checkpoints?namespace=bank', missing: { verb: 'list', ...OURS, namespace: 'bank' } },
    { method: 'GET', path: '/v1/containers?namespace=bank', missing: { verb: 'list', ...OURS, namespace: 'bank' } },
    { method: 'GET', path: '/v1/checkpoints/THEIRS', missing: { verb: 'get', ...OURS } },
    { method: 'GET', path: '/v1/checkpoints/THEIRS/archive', missing: { verb: 'get', ...CONTENT } },
    { method: 'GET', path: '/v1/checkpoints/THEIRS/members/spec.dump', missing: { verb: 'get', ...CONTENT } },
    { method: 'PUT', path: '/v1/checkpoints/THEIRS/pin', missing: { verb: 'update', ...OURS } },
    { method: 'DELETE', path: '/v1/checkpoints/THEIRS', missing: { verb: 'delete', ...OURS } },
  ])('is refused in another namespace: $method $path', async ({ method, path, missing }) => {
    const body = method === 'POST' ? { namespace: 'bank', pod: 'counter-a' } : undefined
    expect(await user.ask(method, path.replace('THEIRS', theirs.id), body)).toMatchObject({
      status: 403,
      body: { code: 'Forbidden', missingPermission: missing },
    })
  })

  it('has done nothing to the checkpoint of another namespace', async () => {
    expect(await listCheckpoints('a')).toEqual([theirs])
  })

  async function run(command: string): Promise<string> {
    const { code, stdout, stderr } = await user.run(command)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return stdout
  }
})

describe('a developer of the namespace, by the RoleBinding of docs/guides/give-a-team-access.md', () => {
  it('takes and lists, and is told what the content would need', async () => {
    const bea = await certificateUser('bea', ['shop-developers'])
    const leave = await bea.comeIn('a')
    const { status, body } = await bea.ask('POST', '/v1/captures?wait=true', { namespace: 'shop', pod: 'counter-a' })
    expect(status).toBe(201)
    const [{ id = '' } = {}] = itemsOf(JSON.stringify(body))
    expect(await bea.ask('GET', `/v1/checkpoints/${id}`)).toMatchObject({ status: 200 })
    expect(await bea.ask('GET', `/v1/checkpoints/${id}/archive`)).toMatchObject({
      status: 403,
      body: { missingPermission: { verb: 'get', ...CONTENT } },
    })
    expect(await bea.ask('DELETE', `/v1/checkpoints/${id}`)).toMatchObject({
      status: 403,
      body: { missingPermission: { verb: 'delete', ...OURS } },
    })
    await leave()
    bea.forget()
  })
})

describe('what is taken away', () => {
  let me: ClusterUser

  beforeAll(async () => {
    me = await serviceAccountUser()
    const leave = await me.comeIn('a')
    return async () => {
      await leave()
      me.forget()
    }
  })

  it('a RoleBinding, ends within the time that a yes is remembered, and begins again after that of a no', async () => {
    expect(await statusOfList()).toBe(200)
    await kubectl(['delete', 'rolebinding', 'me'])
    await expect.poll(statusOfList, { timeout: ALLOW_MS + SLACK_MS, interval: 200 }).toBe(403)
    await bindOwner('me', '--serviceaccount=shop:me')
    await expect.poll(statusOfList, { timeout: DENY_MS + SLACK_MS, interval: 200 }).toBe(200)
  })

  it('a service account, ends within the time that the agent and the API server remember its token', async () => {
    await kubectl(['delete', 'serviceaccount', 'me'])
    await expect.poll(statusOfList, { timeout: API_SERVER_MS + TOKEN_MS + SLACK_MS, interval: 200 }).toBe(401)
  })

  async function statusOfList(): Promise<number> {
    return (await me.ask('GET', '/v1/checkpoints?namespace=shop')).status
  }
})

async function bindOwner(name: string, subject: string): Promise<void> {
  await kubectl(['create', 'rolebinding', name, '--role=checkpoint-owner', subject])
}

function itemsOf(answer: string): readonly Partial<ListedCheckpoint>[] {
  return (JSON.parse(answer) as { readonly items: readonly Partial<ListedCheckpoint>[] }).items
}
