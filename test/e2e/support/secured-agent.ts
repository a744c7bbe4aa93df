import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { startAgentProcess, type AgentProcess, type Settings } from '../../support/agent-process.ts'
import { authoritiesOf, TestApiServer } from '../../support/api-server.ts'
import { TestAuthority, type MadeCertificate } from '../../support/certificate-maker.ts'
import { runCommand } from '../harness/node-command.ts'

/** The agent as a process in mode `kubernetes`, and our API server. */
export interface SecuredAgent {
  readonly agent: AgentProcess
  readonly server: TestApiServer
  /** Whose certificates are users. */
  readonly clients: TestAuthority
  /** Whose certificates may speak for others. */
  readonly proxies: TestAuthority
  readonly folder: string
  /** The files of a certificate and its key. */
  readonly write: (name: string, made: MadeCertificate) => { readonly cert: string; readonly key: string }
  /** What curl gets of a path with these arguments. */
  readonly curl: (path: string, ...args: readonly string[]) => Promise<CurlAnswer>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

export interface CurlAnswer {
  /** 0 where there was no answer. */
  readonly status: number
  readonly body: string
}

export interface SecuredAgentOptions {
  readonly settings?: Settings
  readonly retention?: object
  readonly configMap?: Readonly<Record<string, string>>
}

export async function startSecuredAgent({
  settings,
  configMap,
  retention,
}: SecuredAgentOptions = {}): Promise<SecuredAgent> {
  const folder = mkdtempSync(join(tmpdir(), 'e2e-secured-'))
  mkdirSync(join(folder, 'checkpoints'), { mode: 0o700 })
  const server = await TestApiServer.start()
  const clients = await TestAuthority.make({ subject: 'CN=kubernetes-clients' })
  const proxies = await TestAuthority.make({ subject: 'CN=kubernetes-proxies' })
  server.configMap = { ...authoritiesOf(clients, proxies), ...configMap }
  const agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: {
      'server.auth.mode': 'kubernetes',
      'kubernetes.apiServer': server.url,
      'kubernetes.tokenFile': server.tokenFile,
      'kubernetes.caFile': server.caFile,
      'checkpoints.directory': join(folder, 'checkpoints'),
      'runtime.socket': join(folder, 'none.sock'),
      ...settings,
    },
    ...(retention !== undefined && { retention }),
  })
  // Certificates are judged by them.
  await vi.waitUntil(() => agent.log().some(({ msg }) => msg === 'Client authorities read'), { timeout: 10_000 })
  return {
    agent,
    server,
    clients,
    proxies,
    folder,
    write: (name, { key, certificate }) => {
      const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
      writeFileSync(files.cert, certificate)
      writeFileSync(files.key, key, { mode: 0o600 })
      return files
    },
    curl: async (path, ...args) => {
      const url = `https://127.0.0.1:${String(agent.port)}${path}`
      const { stdout } = await runCommand('curl', ['-sk', '-w', '\n%{http_code}', ...args, url])
      const end = stdout.lastIndexOf('\n')
      return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) }
    },
    async [Symbol.asyncDispose]() {
      await agent.kill9()
      await server[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
