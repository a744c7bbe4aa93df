import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { SERVER_AUTH, TestAuthority } from '../support/certificate-maker.ts'
import { helm, ofKind, render, renderHooks, renderScenario, scenarioFile } from './rendered-chart.ts'

const TOKEN = 'token-of-the-test'
const USER = 'system:serviceaccount:ckpt:agent-checkpoint-agent-test'
const AGENTS = ['127.0.0.2', '127.0.0.3'] as const

const testPod = z.looseObject({
  metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }),
  spec: z.looseObject({
    serviceAccountName: z.string(),
    containers: z.tuple([
      z.looseObject({
        image: z.string(),
        command: z.tuple([z.literal('node'), z.string(), z.string()]),
        args: z.tuple([z.string()]),
        env: z.array(z.object({ name: z.string(), value: z.string() })),
      }),
    ]),
  }),
})

interface Answer {
  readonly status: number
  readonly body?: object
}

type Agent = (path: string, token: string | undefined) => Answer

describe.skipIf(helm === undefined)('helm test', () => {
  const directory = mkdtempSync(join(tmpdir(), 'checkpoint-agent-helm-test-'))
  const servers: Server[] = []
  let authority: TestAuthority

  beforeAll(async () => {
    authority = await TestAuthority.make()
    writeFileSync(join(directory, 'ca.crt'), authority.certificate)
    writeFileSync(join(directory, 'token'), `${TOKEN}\n`)
  })
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })
  afterAll(() => {
    rmSync(directory, { recursive: true })
  })

  it('passes when every agent is healthy and knows its caller', async () => {
    expect(await runTest({ agents: [healthy, healthy] })).toEqual({
      code: 0,
      stdout:
        'node-0: pod-0 is healthy, ready and knows its caller\nnode-1: pod-1 is healthy, ready and knows its caller\n',
      stderr: '',
    })
  })

  it.each([
    {
      what: 'an agent is not ready',
      agent: answering('/readyz', { status: 503, body: { runtime: 'down' } }),
      says: '/readyz answers 503: {"runtime":"down"}',
    },
    { what: 'an agent is unhealthy', agent: answering('/healthz', { status: 500 }), says: '/healthz answers 500: {}' },
    {
      what: 'an agent cannot ask the API server',
      agent: (path: string, token?: string) => (token === undefined ? healthy(path, token) : { status: 503 }),
      says: '/v1/access answers 503: {}',
    },
    {
      what: 'an agent lets in everybody',
      agent: (path: string) => healthy(path, TOKEN),
      says: '/v1/access answers 200 to a caller without credentials, not 401',
    },
    {
      what: 'an agent takes the caller for somebody else',
      agent: (path: string, token?: string) =>
        token === undefined || path !== '/v1/access' ? healthy(path, token) : { status: 200, body: { user: 'ada' } },
      says: `/v1/access takes the caller for ada, not for ${USER}`,
    },
  ])('fails when $what', async ({ agent, says }) => {
    const { code, stdout, stderr } = await runTest({ agents: [healthy, agent] })
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'node-0: pod-0 is healthy, ready and knows its caller\n' })
    expect(stderr.split('\n')).toContain(`node-1: ${says}`)
  })

  it('fails when a node has no agent', async () => {
    const { code, stderr } = await runTest({ agents: [healthy], desired: 2 })
    expect({ code, stderr }).toEqual({ code: 1, stderr: '1 of 2 agents have a pod\n' })
  })

  it('fails when no node has one', async () => {
    expect(await runTest({ agents: [], desired: 0 })).toMatchObject({ code: 1, stderr: '0 of 0 agents have a pod\n' })
  })

  it('fails when an agent cannot be reached', async () => {
    const { code, stderr } = await runTest({ agents: [healthy, undefined] })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^node-1: cannot call pod-1: .*ECONNREFUSED/)
  })

  it('runs the image of the agents, and no selector of theirs matches its pod', () => {
    const manifests = render('--set', 'image.repository=localhost/agent,image.tag=dev')
    const pod = podOfTest('--set', 'image.repository=localhost/agent,image.tag=dev')
    expect(pod.spec.containers[0].image).toBe('localhost/agent:dev')
    const [service] = ofKind(manifests, 'Service')
    const { selector } = z.looseObject({ selector: z.record(z.string(), z.string()) }).parse(service?.['spec'])
    expect(Object.entries(selector).every(([key, value]) => pod.metadata.labels[key] === value)).toBe(false)
  })

  it('opens the way to the agents for its own pod only, and leaves nothing behind', () => {
    const hooks = renderHooks()
    const pod = podOfTest()
    const [policy] = ofKind(hooks, 'NetworkPolicy')
    expect(policy?.['spec']).toEqual({
      podSelector: {
        matchLabels: { 'app.kubernetes.io/name': 'checkpoint-agent', 'app.kubernetes.io/instance': 'agent' },
      },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [
            {
              podSelector: {
                matchLabels: {
                  'app.kubernetes.io/name': pod.metadata.labels['app.kubernetes.io/name'],
                  'app.kubernetes.io/instance': pod.metadata.labels['app.kubernetes.io/instance'],
                },
              },
            },
          ],
          ports: [{ protocol: 'TCP', port: 'agent' }],
        },
      ],
    })
    const policies = hooks.map(({ kind, metadata }) => [kind, metadata.annotations['helm.sh/hook-delete-policy']])
    const always = 'before-hook-creation,hook-succeeded,hook-failed'
    expect(Object.fromEntries(policies)).toEqual({
      ServiceAccount: always,
      Role: always,
      RoleBinding: always,
      NetworkPolicy: always,
      Pod: 'before-hook-creation,hook-succeeded',
    })
  })

  it('may list pods and read the DaemonSet, and nothing of any checkpoint', () => {
    expect(ofKind(renderHooks(), 'Role').map(({ rules }) => rules)).toEqual([
      [
        { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
        { apiGroups: ['apps'], resources: ['daemonsets'], resourceNames: ['agent-checkpoint-agent'], verbs: ['get'] },
      ],
    ])
  })

  it.each([
    { without: 'a port', flags: ['--values', scenarioFile('socket-only')] },
    { without: 'roles', flags: ['--set', 'rbac.create=false'] },
  ])('does not exist without $without', ({ flags }) => {
    expect(renderHooks(...flags)).toEqual([])
  })

  it('makes its pod pass the strictest level of Pod Security', () => {
    expect(podOfTest().spec).toMatchObject({
      automountServiceAccountToken: true,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    })
    expect(renderScenario('default').filter(({ kind }) => kind === 'Pod')).toEqual([])
  })

  /** Runs the script of the test pod in this machine's network; an agent that is undefined does not listen. */
  async function runTest({ agents, desired = agents.length }: { agents: (Agent | undefined)[]; desired?: number }) {
    const port = await listenAs(agents)
    const api = await listen('127.0.0.1', 0, (req, res) => {
      const { pathname } = new URL(req.url ?? '', 'https://api')
      const items = agents.map((_, at) => ({
        metadata: { name: `pod-${at}` },
        spec: { nodeName: `node-${at}` },
        status: { podIP: AGENTS[at] },
      }))
      const leaving = { metadata: { name: 'old', deletionTimestamp: '2026-06-12T10:00:00Z' }, spec: {}, status: {} }
      const objects: Record<string, object> = {
        '/api/v1/namespaces/ckpt/pods': { items: [...items, leaving] },
        '/apis/apps/v1/namespaces/ckpt/daemonsets/agent-checkpoint-agent': {
          status: { desiredNumberScheduled: desired },
        },
      }
      const found = tokenOf(req.headers.authorization) === TOKEN ? objects[pathname] : undefined
      res.writeHead(found === undefined ? 403 : 200).end(JSON.stringify(found ?? {}))
    })
    const [container] = podOfTest('--set', `config.server.address=[::]:${port}`).spec.containers
    const [program, ...flags] = container.command
    const env = {
      ...Object.fromEntries(container.env.map(({ name, value }) => [name, value])),
      PATH: process.env['PATH'],
      CREDENTIALS: directory,
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String(api),
    }
    return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      execFile(program, [...flags, ...container.args], { env }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
      })
    })
  }

  /** All on one port, each on an address of its own. */
  async function listenAs(agents: readonly (Agent | undefined)[]): Promise<number> {
    let port = 0
    for (const [at, agent] of agents.entries()) {
      if (agent === undefined) continue
      port = await listen(AGENTS[at] ?? '', port, (req, res) => {
        const { status, body = {} } = agent(req.url ?? '', tokenOf(req.headers.authorization))
        res.writeHead(status).end(JSON.stringify(body))
      })
    }
    return port === 0 ? 9443 : port
  }

  async function listen(host: string, port: number, listener: RequestListener): Promise<number> {
    const { key, certificate } = await authority.issue({
      subject: 'CN=server',
      usages: [SERVER_AUTH],
      addresses: ['127.0.0.1'],
    })
    const server = createServer({ key, cert: certificate }, listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(port, host, resolve))
    return (server.address() as AddressInfo).port
  }
})

const healthy: Agent = (path, token) => {
  if (path !== '/v1/access') return { status: 200 }
  return token === TOKEN ? { status: 200, body: { user: USER } } : { status: 401 }
}

function answering(at: string, answer: Answer): Agent {
  return (path, token) => (path === at ? answer : healthy(path, token))
}

function tokenOf(header: string | undefined): string | undefined {
  return header?.replace(/^Bearer /, '')
}

function podOfTest(...flags: string[]): z.output<typeof testPod> {
  return testPod.parse(ofKind(renderHooks(...flags), 'Pod')[0])
}
