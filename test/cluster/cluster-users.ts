import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { cluster, type CommandResult, type NodeName, SCRIPT } from './cluster-harness.ts'
import { curl, type CurlAnswer } from './curl.ts'
import { commandsOf } from './docs-recipes.ts'

/** Somebody of the cluster with a kubeconfig of their own, in a folder of their own. */
export interface ClusterUser {
  /** Before each of the commands: the function `ask` of docs/guides/give-a-team-access.md. */
  run(commands: string): Promise<CommandResult>
  /** By curl, as `ask` would, at the end of the way that `comeIn` opens. */
  ask(method: string, path: string, body?: object): Promise<CurlAnswer>
  /** `kubectl port-forward` to the agent of a node. Resolves once it forwards, with what ends it. */
  comeIn(node: NodeName): Promise<() => Promise<void>>
  forget(): void
}

/** The recipe of docs/guides/give-a-team-access.md: from the way to the agent of a node to the removal of a checkpoint. */
export const RECIPE = commandsOf('port-forward "$agent"')
export const [FIND_AGENT = '', PORT_FORWARD = '', ASK_BY_CERTIFICATE = ''] = RECIPE
const [CREATE_TOKEN = '', ASK_BY_TOKEN = ''] = commandsOf('create token me')

/** Signed by the authority of the cluster. */
export async function certificateUser(name: string, groups: readonly string[]): Promise<ClusterUser> {
  const folder = makeFolder()
  const keys = `${await cluster.folder()}/keys`
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const subject = [...groups.map((group) => `/O=${group}`), `/CN=${name}`].join('')
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'me.key']
  openssl('req', ...key, '-out', 'me.csr', '-subj', subject)
  openssl('x509', '-req', '-in', 'me.csr', '-CA', `${keys}/ca.crt`, '-CAkey', `${keys}/ca.key`, '-out', 'me.crt')
  const inKubeconfig = { 'client-certificate': `${folder}/me.crt`, 'client-key': `${folder}/me.key` }
  return userIn(folder, {
    inKubeconfig,
    inShell: ASK_BY_CERTIFICATE,
    flags: ['--cert', join(folder, 'me.crt'), '--key', join(folder, 'me.key')],
  })
}

/** The service account `me` of namespace `shop`, which must be there. */
export async function serviceAccountUser(): Promise<ClusterUser> {
  const folder = makeFolder()
  const { code, stderr } = await cluster.runCommand(['bash', '-c', `cd ${folder}; ${CREATE_TOKEN}`])
  if (code !== 0) throw new Error(`Cannot run "${CREATE_TOKEN}": ${stderr}`)
  const token = readFileSync(join(folder, 'me.token'), 'utf8').trim()
  return userIn(folder, {
    inKubeconfig: { token },
    inShell: ASK_BY_TOKEN,
    flags: ['-H', `Authorization: Bearer ${token}`],
  })
}

interface Credentials {
  readonly inKubeconfig: object
  readonly inShell: string
  readonly flags: readonly string[]
}

function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'cluster-user-'))
}

async function userIn(folder: string, { inKubeconfig, inShell, flags }: Credentials): Promise<ClusterUser> {
  const kubeconfig = join(folder, 'kubeconfig')
  const server = await cluster.kubectl(['config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}'])
  const authority = `${await cluster.folder()}/keys/ca.crt`
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'it', cluster: { server, 'certificate-authority': authority } }],
    users: [{ name: 'me', user: inKubeconfig }],
    contexts: [{ name: 'it', context: { cluster: 'it', user: 'me' } }],
    'current-context': 'it',
  }
  writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 })
  const shell = (commands: string) => ['env', `KUBECONFIG=${kubeconfig}`, 'bash', '-c', `cd ${folder}\n${commands}`]
  return {
    run: (commands) => cluster.runCommand(shell(`${inShell}\n${commands}`)),
    ask(method, path, body) {
      const json = body === undefined ? [] : ['--json', JSON.stringify(body)]
      return curl(`https://localhost:9443${path}`, [...flags, '-X', method, ...json])
    },
    comeIn: (node) => forward(shell(`${forNode(FIND_AGENT, node)}\nexec ${PORT_FORWARD.replace(/ &$/, '')}`)),
    forget: () => rmSync(folder, { recursive: true }),
  }
}

export function forNode(command: string, node: NodeName): string {
  return command.replace('node-a', `node-${node}`)
}

async function forward(command: readonly string[]): Promise<() => Promise<void>> {
  const child = spawn(SCRIPT, ['run', ...command])
  const complaint = text(child.stderr)
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const isOpen = new Promise<boolean>((resolve) => {
    child.stdout.once('data', () => resolve(true))
    child.stdout.once('end', () => resolve(false))
  })
  if (!(await isOpen)) throw new Error(`Cannot forward a port: ${await complaint}`)
  return () => {
    child.kill('SIGTERM')
    return ended
  }
}
