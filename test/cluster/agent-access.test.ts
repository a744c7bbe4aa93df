import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { cluster, SCRIPT } from './cluster-harness.ts'

// The agent with the real API server behind it and curl before it: in the network of node a, on this machine's files.

const NAMESPACE = 'agent-access'
const ALLOW_MS = 3000
const ADDRESS = 'https://127.0.0.1:9443'

const ROLE = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: agent-access, namespace: shop }
rules: [{ apiGroups: [checkpoint-agent.dev], resources: [checkpoints], verbs: [get, list, create] }]`

let folder: string
let keys: string
let token: string

beforeAll(async () => {
  await cluster.up()
  folder = mkdtempSync(join(tmpdir(), 'agent-access-'))
  for (const name of ['checkpoints', 'state']) mkdirSync(join(folder, name), { mode: 0o700 })
  keys = `${await cluster.folder()}/keys`
  await cluster.apply(`${places()}\n---${ROLE}`)
  await kubectl(
    `create clusterrolebinding ${NAMESPACE} --clusterrole=system:auth-delegator --serviceaccount=${NAMESPACE}:agent`,
  )
  const reader = '--role=extension-apiserver-authentication-reader'
  await kubectl(`create rolebinding ${NAMESPACE} -n kube-system ${reader} --serviceaccount=${NAMESPACE}:agent`)
  await bindTaker()
  writeFileSync(join(folder, 'token'), await kubectl(`create token agent -n ${NAMESPACE}`))
  token = (await kubectl('create token agent-access -n shop')).trim()
  const stop = await startAgent()
  return async () => {
    await stop()
    rmSync(folder, { recursive: true })
    await kubectl(`delete namespace ${NAMESPACE} --wait=false`)
    await kubectl(`delete clusterrolebinding ${NAMESPACE}`)
    await kubectl(`delete rolebinding -n kube-system ${NAMESPACE}`)
    await kubectl('delete role,rolebinding,serviceaccount -n shop agent-access')
  }
})

describe('the agent in front of the real API server', () => {
  it('knows a token, a certificate and a front proxy, and nobody else', async () => {
    expect(await ask('/v1/node')).toMatchObject({ status: 401 })
    expect(await ask('/v1/access', bearer())).toMatchObject({
      status: 200,
      body: {
        user: 'system:serviceaccount:shop:agent-access',
        groups: expect.arrayContaining(['system:authenticated']),
      },
    })
    expect(await ask('/v1/access', certificate('admin'))).toMatchObject({
      body: { user: 'admin', groups: ['system:masters', 'system:authenticated'] },
    })
    const headers = ['-H', 'X-Remote-User: zoe', '-H', 'X-Remote-Group: ops', '-H', 'X-Remote-Group: a, b']
    expect(await ask('/v1/access', [...certificate('front-proxy'), ...headers])).toMatchObject({
      body: { user: 'zoe', groups: ['ops', 'a, b', 'system:authenticated'] },
    })
    expect(await ask('/v1/access', [...certificate('admin'), ...headers])).toMatchObject({ body: { user: 'admin' } })
    expect(await ask('/v1/access', headers)).toMatchObject({ status: 401 })
    const forOthers = (await kubectl('create token agent-access -n shop --audience=others')).trim()
    expect(await ask('/v1/node', bearer(forOthers))).toMatchObject({ status: 401 })
  })

  it('allows what a Role in a namespace allows', async () => {
    expect(await ask('/v1/checkpoints?namespace=shop', bearer())).toMatchObject({ status: 200, body: { items: [] } })
    expect(await ask('/v1/checkpoints?namespace=bank', bearer())).toMatchObject({
      status: 403,
      body: { missingPermission: { verb: 'list', resource: 'checkpoints', namespace: 'bank' } },
    })
    expect(await ask('/v1/custody', bearer())).toMatchObject({ status: 403 })
    expect(await ask('/v1/custody', certificate('admin'))).toMatchObject({ status: 200 })
    const kubelet = await ask('/checkpoint/bank/web/x', [...bearer(), '-X', 'POST'])
    expect(kubelet).toMatchObject({ status: 403, body: expect.stringContaining('subresource(s)=[checkpoint])') })
  })

  it('forgets a Role that was taken away when its time is over', async () => {
    expect(await ask('/v1/checkpoints?namespace=shop', bearer())).toMatchObject({ status: 200 })
    await kubectl('delete rolebinding agent-access -n shop')
    onTestFinished(bindTaker)
    await delay(ALLOW_MS + 200)
    expect(await ask('/v1/checkpoints?namespace=shop', bearer())).toMatchObject({ status: 403 })
  })

  it('allows nothing while the API server is stopped, and recovers by itself', async () => {
    await expect.poll(() => ask('/v1/checkpoints?namespace=shop', bearer())).toMatchObject({ status: 200 })
    const pid = await cluster.processOf('apiserver')
    process.kill(pid, 'SIGSTOP')
    try {
      await delay(ALLOW_MS + 200)
      expect(await ask('/v1/checkpoints?namespace=shop', bearer())).toMatchObject({
        status: 503,
        body: { code: 'AuthorizationUnavailable' },
      })
      const post = [...certificate('admin'), '-X', 'POST']
      expect(await ask('/checkpoint/shop/web/x', post)).toEqual({
        status: 500,
        body: 'Authorization error (user=admin, verb=create, resource=nodes, subresource=checkpoint)',
      })
      expect(await ask('/healthz')).toMatchObject({ status: 200 })
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await expect.poll(() => ask('/v1/checkpoints?namespace=shop', bearer())).toMatchObject({ status: 200 })
  })
})

async function startAgent(): Promise<() => Promise<void>> {
  const url = await kubectl('config view --minify -o jsonpath={.clusters[0].cluster.server}')
  const settings = {
    'node.name': 'node-a',
    'checkpoints.directory': `${folder}/checkpoints`,
    'state.directory': `${folder}/state`,
    'runtime.socket': `${folder}/none.sock`,
    'server.socket': `${folder}/agent.sock`,
    'server.auth.mode': 'kubernetes',
    'server.auth.allowTtl': `${ALLOW_MS}ms`,
    'server.auth.tokenTtl': `${ALLOW_MS}ms`,
    'server.auth.denyTtl': '1s',
    'kubernetes.apiServer': url.trim(),
    'kubernetes.tokenFile': `${folder}/token`,
    'kubernetes.caFile': `${keys}/ca.crt`,
  }
  const flags = Object.entries(settings).map(([key, value]) => `--${key}=${value}`)
  const main = join(import.meta.dirname, '../../src/main.ts')
  const child = spawn(SCRIPT, ['run', process.execPath, main, ...flags], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await vi.waitUntil(async () => (await ask('/healthz')).status === 200, { timeout: 30_000, interval: 300 })
  return async () => {
    child.kill('SIGTERM')
    await ended
  }
}

async function bindTaker(): Promise<void> {
  await kubectl('create rolebinding agent-access -n shop --role=agent-access --serviceaccount=shop:agent-access')
}

function bearer(text = token): string[] {
  return ['-H', `Authorization: Bearer ${text}`]
}

function certificate(name: string): string[] {
  return ['--cert', `${keys}/${name}.crt`, '--key', `${keys}/${name}.key`]
}

async function ask(path: string, options: readonly string[] = []): Promise<{ status: number; body: unknown }> {
  const words = ['curl', '-sk', '-m', '20', '-w', '\n%{http_code} %{content_type}', ...options, `${ADDRESS}${path}`]
  const { stdout } = await cluster.runCommand(words)
  const end = stdout.lastIndexOf('\n')
  const [status = '', type = ''] = stdout.slice(end + 1).split(' ')
  const body = stdout.slice(0, end)
  return { status: Number(status), body: type.includes('json') ? (JSON.parse(body) as unknown) : body }
}

function kubectl(words: string): Promise<string> {
  return cluster.kubectl(words.split(' '))
}

function places(): string {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agent', namespace: NAMESPACE } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agent-access', namespace: 'shop' } },
  ]
    .map((object) => JSON.stringify(object))
    .join('\n---\n')
}
