import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { SERVER_AUTH, TestAuthority } from './certificate-maker.ts'

export interface TokenHolder {
  readonly username: string
  readonly groups?: readonly string[]
  readonly uid?: string
  readonly extra?: Readonly<Record<string, readonly string[]>>
  /** Whom the token is for. Default: the API server. */
  readonly audiences?: readonly string[]
}

/** What a role and its binding say together. */
export interface Grant {
  /** A user, or a group. */
  readonly to: string
  /** Absent: a ClusterRoleBinding. */
  readonly namespace?: string
  readonly verbs: readonly string[]
  readonly groups?: readonly string[]
  readonly resources: readonly string[]
  readonly names?: readonly string[]
}

/** What goes wrong from now on. */
export interface ApiServerFaults {
  readonly latencyMs?: number
  /** For so many requests; 429 comes with `Retry-After`. */
  readonly status?: { readonly code: number; readonly times: number }
  /** Takes requests and says nothing, as a stopped process does. */
  readonly isStopped?: boolean
  /** Instead of JSON. */
  readonly garbage?: string
}

const API_AUDIENCE = 'https://kubernetes.default.svc.cluster.local'
const AGENT_TOKEN = 'the-agents-own-token'

interface Review {
  readonly kind: string
  readonly spec: Readonly<Record<string, unknown>>
}

/** A TLS server that answers the three questions of the agent as the real API server does. */
export class TestApiServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'api-server-'))
  readonly tokenFile = join(this.folder, 'token')
  readonly caFile = join(this.folder, 'ca.crt')
  readonly tokens = new Map<string, TokenHolder>()
  readonly grants: Grant[] = []
  /** Every request that was answered, as `POST tokenreviews`. */
  readonly calls: string[] = []
  configMap: Record<string, string> | undefined = {}
  faults: ApiServerFaults = {}
  agentToken = AGENT_TOKEN
  #server: Server | undefined
  #port = 0

  static async start(): Promise<TestApiServer> {
    const server = new TestApiServer()
    writeFileSync(server.tokenFile, `${AGENT_TOKEN}\n`)
    await server.useNewCertificate()
    return server
  }

  get url(): string {
    return `https://127.0.0.1:${String(this.#port)}`
  }

  /** What the agent is told of it. */
  get api() {
    return { url: this.url, tokenFile: this.tokenFile, caFile: this.caFile }
  }

  /** A new authority and a new certificate; the port stays. The file of the authority too, unless it is written. */
  async useNewCertificate({ isCaWritten = true, notAfter }: { isCaWritten?: boolean; notAfter?: Date } = {}) {
    const past = notAfter && { notAfter, notBefore: new Date(notAfter.getTime() - 1000) }
    const authority = await TestAuthority.make({ subject: 'CN=kubernetes', ...past })
    const order = { subject: 'CN=kube-apiserver', usages: [SERVER_AUTH], addresses: ['127.0.0.1'], ...past }
    const { key, certificate } = await authority.issue(order)
    if (isCaWritten) writeFileSync(this.caFile, authority.certificate)
    await this.refuseConnections()
    const server = createServer({ key, cert: certificate }, (req, res) => void this.#answer(req, res))
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** As a server that is not there. */
  async refuseConnections(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuseConnections()
    rmSync(this.folder, { recursive: true, force: true })
  }

  count(call: string): number {
    return this.calls.filter((made) => made === call).length
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { latencyMs, status, isStopped, garbage } = this.faults
    const body = req.method === 'POST' ? ((await json(req)) as Review) : undefined
    if (isStopped === true) return
    if (latencyMs !== undefined) await delay(latencyMs)
    this.calls.push(`${req.method ?? ''} ${(req.url ?? '').split('/').at(-1) ?? ''}`)
    if (status !== undefined && status.times > 0) {
      this.faults = { ...this.faults, status: { ...status, times: status.times - 1 } }
      if (status.code === 429) res.setHeader('retry-after', '1')
      send(res, status.code, problem(status.code, 'TooManyRequests'))
    } else if (garbage !== undefined) {
      res.end(garbage)
    } else if (req.headers.authorization !== `Bearer ${this.agentToken}`) {
      send(res, 401, problem(401, 'Unauthorized'))
    } else {
      this.#route(req, res, body)
    }
  }

  #route(req: IncomingMessage, res: ServerResponse, body: Review | undefined): void {
    const at = `${req.method ?? ''} ${req.url ?? ''}`
    if (at === 'POST /apis/authentication.k8s.io/v1/tokenreviews' && body?.kind === 'TokenReview') {
      send(res, 201, { ...body, status: this.#reviewToken(body.spec as never) })
    } else if (
      at === 'POST /apis/authorization.k8s.io/v1/subjectaccessreviews' &&
      body?.kind === 'SubjectAccessReview'
    ) {
      const isAllowed = this.#isAllowed(body.spec as never)
      const status = isAllowed ? { allowed: true, reason: 'RBAC: allowed by a test' } : { allowed: false }
      send(res, 201, { ...body, status })
    } else if (
      at === 'GET /api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication' &&
      this.configMap !== undefined
    ) {
      send(res, 200, { kind: 'ConfigMap', apiVersion: 'v1', metadata: {}, data: this.configMap })
    } else {
      send(res, 404, problem(404, 'NotFound'))
    }
  }

  #reviewToken({ token, audiences = [API_AUDIENCE] }: { token: string; audiences?: string[] }) {
    const holder = this.tokens.get(token)
    const accepted = (holder?.audiences ?? [API_AUDIENCE]).filter((audience) => audiences.includes(audience))
    if (holder === undefined || accepted.length === 0) return { user: {}, error: '[invalid bearer token]' }
    const { username, groups = [], uid, extra } = holder
    return { authenticated: true, user: { username, uid, groups, extra }, audiences: accepted }
  }

  #isAllowed({
    user,
    groups = [],
    resourceAttributes: { verb, group = '', resource, subresource, namespace = '', name = '' },
  }: {
    user: string
    groups?: string[]
    resourceAttributes: Record<'verb' | 'resource', string> &
      Partial<Record<'group' | 'subresource' | 'namespace' | 'name', string>>
  }): boolean {
    if (groups.includes('system:masters')) return true
    const full = subresource === undefined ? resource : `${resource}/${subresource}`
    return this.grants.some((grant) => {
      const isHolder = grant.to === user || groups.includes(grant.to)
      const isHere = grant.namespace === undefined || (grant.namespace === namespace && namespace !== '')
      return (
        isHolder &&
        isHere &&
        has(grant.verbs, verb) &&
        has(grant.groups ?? ['checkpoint-agent.dev'], group) &&
        has(grant.resources, full) &&
        (grant.names === undefined || grant.names.includes(name))
      )
    })
  }
}

function has(list: readonly string[], item: string): boolean {
  return list.includes('*') || list.includes(item)
}

function problem(code: number, reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: reason, reason, code }
}

function send(res: ServerResponse, status: number, body: object): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** As the cluster's ConfigMap names them. */
export function authoritiesOf(clients: TestAuthority, proxies: TestAuthority): Record<string, string> {
  return {
    'client-ca-file': clients.certificate,
    'requestheader-client-ca-file': proxies.certificate,
    'requestheader-allowed-names': '["front-proxy-client"]',
    'requestheader-username-headers': '["X-Remote-User"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
  }
}
