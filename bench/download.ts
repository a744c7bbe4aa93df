import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { selfSignedCertificate } from '../src/http/self-signed-certificate.ts'
import { systemClock } from '../src/shared/clock.ts'
import { AGE_IDENTITIES } from '../test/support/age-program.ts'
import { startAgentProcess, type AgentProcess } from '../test/support/agent-process.ts'
import { counterProcesses, writeArchive } from '../test/support/archive-builder.ts'
import { announceRunTime, formatFigure, quantile, reportBounded } from './bounds.ts'
import { comparePaired } from './paired.ts'

// An archive of 2 GiB in the page cache, fetched with curl: from the agent and from nginx (one worker, sendfile, no
// kTLS, the same certificate and cipher), by turns. Encrypted, against the age program that reads the same file.

const SIZE_BYTES = 2 * 1024 ** 3
const PAIRS = 5
const TLS_BOUND = 1
/** 0.9 of the throughput. */
const PLAIN_BOUND = 1 / 0.9
/** 0.5 of the throughput. */
const AGE_BOUND = 2
const LIST_P99_BOUND_MS = 50
const RSS_BOUND_MIB = 150
const PARALLEL = 4
const READY_WITHIN_MS = 60_000
const CIPHER = 'TLS_AES_256_GCM_SHA384'
const FILE_NAME = 'checkpoint-web-0_shop-counter-2026-01-31T12:00:00Z.tar'
const RECIPIENT = AGE_IDENTITIES[0]?.recipient ?? ''

const run = promisify(execFile)
announceRunTime('download')

for (const [program, needed] of [
  ['nginx', 'nginx-light'],
  ['age', 'age'],
  ['curl', 'curl'],
] as const) {
  if (isInstalled(program)) continue
  console.log(`bench download: not run: ${program} is missing (apt-get install ${needed})`)
  process.exit(0)
}

const folder = mkdtempSync(join(tmpdir(), 'bench-download-'))
const directory = join(folder, 'checkpoints')
const archive = join(directory, FILE_NAME)
const agents: AgentProcess[] = []
const ends: (() => Promise<unknown>)[] = []
try {
  mkdirSync(directory, { mode: 0o700 })
  writeArchive(archive, { processes: counterProcesses(SIZE_BYTES) })
  const certificate = await selfSignedCertificate({
    directory: join(folder, 'tls'),
    nodeName: 'bench',
    clock: systemClock,
  })
  const files = { key: join(folder, 'key.pem'), certificate: join(folder, 'certificate.pem') }
  writeFileSync(files.key, certificate.key, { mode: 0o600 })
  writeFileSync(files.certificate, certificate.certificate)

  const agent = await startAgent(false)
  const plainUrl = `http://127.0.0.1:${agent.port}/v1/checkpoints/${await findReady(agent)}/archive`
  const nginx = await startNginx(files)
  const plain = ['-H', 'Accept-Encoding: identity']

  const peer = { peerName: 'nginx', pairs: PAIRS }
  await comparePaired({
    name: 'download, 2 GiB plain',
    ...peer,
    bound: PLAIN_BOUND,
    // The peer's bytes do not pass through the program: where others use the memory it has less to wait for.
    failingMargin: 2,
    ours: () => fetch(plainUrl, plain),
    peer: () => fetch(nginx.plain),
  })
  await measureListBeside(agent, plainUrl)
  await comparePaired({
    name: 'download, 2 GiB encrypted',
    peerName: 'age writing to a pipe',
    pairs: PAIRS,
    bound: AGE_BOUND,
    ours: () => fetch(`${plainUrl}?recipient=${RECIPIENT}`),
    peer: () => encryptWithAge(),
  })
  reportMemory('plain, encrypted', agent)
  await agent.sigterm()

  const secure = await startAgent(true, files)
  const secureUrl = plainUrl.replace(`http://127.0.0.1:${agent.port}`, `https://127.0.0.1:${secure.port}`)
  await comparePaired({
    name: 'download, 2 GiB over TLS 1.3',
    ...peer,
    bound: TLS_BOUND,
    ours: () => fetch(secureUrl, plain),
    peer: () => fetch(nginx.secure),
  })
  reportMemory('TLS', secure)
} finally {
  for (const agent of agents) await agent.kill9()
  for (const end of ends) await end()
  rmSync(folder, { recursive: true, force: true })
}

async function startAgent(isSecure: boolean, files = { key: '', certificate: '' }): Promise<AgentProcess> {
  const agent = await startAgentProcess({
    folder: join(folder, 'agent'),
    settings: {
      'checkpoints.directory': directory,
      'runtime.socket': join(folder, 'no-runtime.sock'),
      'log.level': 'info',
      'content.perUser': PARALLEL,
      ...(isSecure && { 'server.tls.certFile': files.certificate, 'server.tls.keyFile': files.key }),
    },
  })
  agents.push(agent)
  return agent
}

async function findReady(agent: AgentProcess): Promise<string> {
  for (const began = performance.now(); performance.now() - began < READY_WITHIN_MS; await sleep(200)) {
    const answer = await agent.request('GET', '/v1/checkpoints?state=ready', { overSocket: true })
    const [found] = answer.json<{ items: readonly { id: string }[] }>().items
    if (found !== undefined) return found.id
  }
  throw new Error('the archive is not ready')
}

/** Gives how long it took, in milliseconds. */
async function fetch(url: string, flags: readonly string[] = []): Promise<number> {
  const secure = url.startsWith('https:') ? ['--insecure', '--tls13-ciphers', CIPHER, '--tlsv1.3'] : []
  const format = '%{http_code} %{size_download} %{time_total}'
  const { stdout } = await run('curl', ['-sS', '-o', '/dev/null', '-w', format, ...secure, ...flags, url])
  const [status, size, seconds] = stdout.split(' ').map(Number)
  if (status !== 200 || (size ?? 0) < SIZE_BYTES) throw new Error(`${url} gave ${stdout}`)
  return (seconds ?? 0) * 1000
}

async function encryptWithAge(): Promise<number> {
  const began = performance.now()
  const age = spawn('sh', ['-c', 'age -r "$0" "$1" | cat > /dev/null', RECIPIENT, archive], { stdio: 'inherit' })
  const code = await new Promise((resolve) => age.once('exit', resolve))
  if (code !== 0) throw new Error(`age ended with ${String(code)}`)
  return performance.now() - began
}

/** Lists again and again on a connection of its own while four downloads run. */
async function measureListBeside(agent: AgentProcess, url: string): Promise<void> {
  const downloads = Promise.all(Array.from({ length: PARALLEL }, () => fetch(url)))
  const ended = new AbortController()
  void downloads.finally(() => ended.abort())
  const keepAlive = new Agent({ keepAlive: true })
  const times: number[] = []
  await listOnce(agent.port, keepAlive)
  while (!ended.signal.aborted) {
    const began = performance.now()
    await listOnce(agent.port, keepAlive)
    times.push(performance.now() - began)
    await sleep(5)
  }
  await downloads
  keepAlive.destroy()
  reportBounded({
    name: `download, GET /v1/checkpoints beside ${PARALLEL} of them`,
    value: quantile(times, 0.99),
    bound: LIST_P99_BOUND_MS,
    unit: ' ms',
    note: `p99 of ${times.length}, p50 ${formatFigure(quantile(times, 0.5))} ms`,
  })
}

function listOnce(port: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: '/v1/checkpoints', agent }, (answer) => {
      answer.resume().once('end', resolve)
    })
      .once('error', reject)
      .end()
  })
}

function reportMemory(what: string, { pid }: AgentProcess): void {
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  reportBounded({
    name: `download, memory (${what})`,
    value: Number(kibibytes) / 1024,
    bound: RSS_BOUND_MIB,
    unit: ' MiB',
    note: 'the most there ever was of it',
  })
}

interface Nginx {
  readonly plain: string
  readonly secure: string
}

async function startNginx({ key, certificate }: { key: string; certificate: string }): Promise<Nginx> {
  const [plainPort, securePort] = [await freePort(), await freePort()]
  const configuration = `
    daemon off; master_process on; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/nginx.log; user root;
    events {}
    http {
      access_log off; sendfile on; root ${directory};
      client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
      server { listen 127.0.0.1:${plainPort}; }
      server {
        listen 127.0.0.1:${securePort} ssl;
        ssl_certificate ${certificate}; ssl_certificate_key ${key}; ssl_protocols TLSv1.3;
      }
    }`
  writeFileSync(join(folder, 'nginx.conf'), configuration)
  const nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
  const ended = new Promise((resolve) => nginx.once('exit', resolve))
  ends.push(async () => {
    nginx.kill('SIGTERM')
    await ended
  })
  const name = encodeURIComponent(FILE_NAME)
  const url = { plain: `http://127.0.0.1:${plainPort}/${name}`, secure: `https://127.0.0.1:${securePort}/${name}` }
  for (let attempt = 0; attempt < 50; attempt += 1) {
    if (
      await run('curl', ['-sfI', url.plain]).then(
        () => true,
        () => false,
      )
    )
      return url
    await sleep(100)
  }
  throw new Error('nginx does not answer')
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
