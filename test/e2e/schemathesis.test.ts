import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { AGE_IDENTITIES } from '../support/age-program.ts'
import { writeArchive } from '../support/archive-builder.ts'
import { startSimulatedRuntime, type SimulatedRuntime } from '../support/simulated-runtime.ts'
import { runCommand } from './harness/node-command.ts'
import { startSecuredAgent, type SecuredAgent } from './support/secured-agent.ts'

// A client that knows nothing of the agent but its OpenAPI document: what the document promises must be so.

const prepared = await runCommand(join(import.meta.dirname, 'harness/prepare'), ['schemathesis'], {
  timeoutMs: 300_000,
})
const schemathesis = prepared.exitCode === 0 ? prepared.stdout.trim() : undefined
if (schemathesis === undefined) console.error(`schemathesis is not run: ${prepared.stderr.trim()}`)

const SEED = '1'
/** Of each kind for each operation: half a minute of them on a machine that has nothing else to do. */
const EXAMPLES = '25'
const ARCHIVES = 40
const TOKEN = 'a-token-of-the-cluster'
/** Sweeps are asked for, too. */
const KEEP_ALL = {
  schedule: '',
  rules: [{ match: { namespace: '*' }, keepWithin: '36500d' }],
  disk: { highWatermark: '100%', lowWatermark: '99%' },
}

let folder: string
let runtime: SimulatedRuntime
let secured: SecuredAgent

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'e2e-schemathesis-'))
  runtime = await startSimulatedRuntime({ socketPath: join(folder, 'runtime.sock') })
  runtime.webPod()
  secured = await startSecuredAgent({
    settings: {
      'runtime.socket': runtime.socketPath,
      'capture.diskFloor.minFree': '0',
      'capture.diskFloor.percent': '0%',
      'capture.queueLimit': 10_000,
      'server.limits.capturesPerMinute': 100_000,
      'server.limits.contentPerMinute': 100_000,
      'server.limits.inspectionsPerMinute': 100_000,
      'server.limits.verifiesPerMinute': 100_000,
      'server.limits.changesPerMinute': 100_000,
      'server.limits.accessPerMinute': 100_000,
      'inspection.concurrency': 16,
      'inspection.perUser': 16,
    },
    retention: KEEP_ALL,
  })
  secured.server.tokens.set(TOKEN, { username: 'tester', groups: ['system:masters'] })
  for (let number = 0; number < ARCHIVES; number += 1) {
    const second = String(number).padStart(2, '0')
    const name = `checkpoint-web-${String(number)}_shop-counter-2026-01-31T12:00:${second}Z.tar`
    writeArchive(join(secured.folder, 'checkpoints', name), { pod: `web-${String(number)}` })
  }
  await vi.waitUntil(async () => (await checkpointIds()).length === ARCHIVES, { timeout: 30_000, interval: 200 })
})

afterAll(async () => {
  await secured[Symbol.asyncDispose]()
  await runtime[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe.skipIf(schemathesis === undefined)('Schemathesis', () => {
  it(`finds that the agent does what its document says (seed ${SEED})`, async () => {
    const [checkpoints, captures] = [await checkpointIds(), await captureIds()]
    const document = join(folder, 'openapi.json')
    writeFileSync(document, JSON.stringify(withoutSecrets((await get('/openapi.json')) as Document)))
    const config = join(folder, 'schemathesis.toml')
    writeFileSync(config, configuration({ checkpoints, captures }))
    const environment = ['-C', folder, `PYTHONPATH=${schemathesis ?? ''}`, 'PYTHONDONTWRITEBYTECODE=1']
    const program = ['python3', join(schemathesis ?? '', 'bin/st'), '--config-file', config]
    const run = ['run', document, '--url', `https://127.0.0.1:${String(secured.agent.port)}`, '--no-color']
    const bounds = ['--seed', SEED, '--max-examples', EXAMPLES]
    const command = [...environment, ...program, ...run, ...bounds]
    const { stdout, stderr, exitCode } = await runCommand('env', command, { timeoutMs: 170_000 })
    const report = `${stdout}${stderr}`
    console.log(report.slice(report.lastIndexOf('= SUMMARY =')))
    expect(exitCode === 0 ? '' : report).toBe('')
    expect(Number(/(\d+) generated/.exec(report)?.[1])).toBeGreaterThan(1000)
    expect(secured.agent.log().filter(({ level }) => level === 'error')).toEqual([])
    expect((await secured.curl('/readyz')).status).toBe(200)
  })
})

const ACCEPTED = ['2xx', '3xx', '401', '403', '404', '409', '412', '416', '422', '429']

type Json = Readonly<Record<string, unknown>>

interface Parameter extends Json {
  readonly name: string
}

interface Document extends Json {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, Json & { readonly parameters: readonly Parameter[] }>>>
  >
}

/** Nobody but the agent can make a token of a next page, and nobody draws a key at random. */
function withoutSecrets(document: Document): Document {
  const paths = Object.entries(document.paths).map(([path, operations]) => [
    path,
    Object.fromEntries(
      Object.entries(operations).map(([method, operation]) => [
        method,
        { ...operation, parameters: operation.parameters.filter(({ name }) => name !== 'continue').map(withKnownKeys) },
      ]),
    ),
  ])
  return { ...document, paths: Object.fromEntries(paths) as Document['paths'] }
}

function withKnownKeys(parameter: Parameter): Parameter {
  if (parameter.name !== 'recipient') return parameter
  const keys = AGE_IDENTITIES.map(({ recipient }) => recipient)
  return { ...parameter, schema: { type: 'array', items: { type: 'string', enum: keys } } }
}

/** As TOML; its strings are written as those of JSON. */
function configuration(ids: { readonly checkpoints: readonly string[]; readonly captures: readonly string[] }): string {
  return `
request-timeout = 10.0
tls-verify = false
headers = { Authorization = "Bearer ${TOKEN}" }
warnings = false

[dictionaries]
checkpoints = { values = ${JSON.stringify(ids.checkpoints)} }
captures = { values = ${JSON.stringify(ids.captures)} }
members = { values = ["config.dump", "spec.dump", "checkpoint/inventory.img"] }

# What is asked for under a condition is refused where that does not hold, as with a state that is another one.
[checks.positive_data_acceptance]
expected-statuses = ${JSON.stringify(ACCEPTED)}

# What a policy holds is in docs/concepts/retention.md, and not in the document.
[[operations]]
include-operation-id = "planRetention"
checks.positive_data_acceptance.expected-statuses = ${JSON.stringify([...ACCEPTED, '400'])}

# A stream that does not end.
[[operations]]
include-operation-id = "watch"
enabled = false

[[operations]]
include-path-regex = "^/v1/checkpoints/"
parameters = { "path.id" = { dictionary = "checkpoints", probability = 0.8 }, "path.name" = { dictionary = "members", probability = 0.8 } }

# A capture that was cancelled is still known.
[[operations]]
include-path-regex = "^/v1/captures/"
checks.use_after_free.enabled = false
parameters = { "path.id" = { dictionary = "captures", probability = 0.8 } }
`
}

async function get(path: string): Promise<unknown> {
  const { status, body } = await secured.curl(path, '-H', `Authorization: Bearer ${TOKEN}`)
  expect(status).toBe(200)
  return JSON.parse(body)
}

async function checkpointIds(): Promise<string[]> {
  const { items } = (await get('/v1/checkpoints?limit=1000&state=ready')) as { items: { id: string }[] }
  return items.map(({ id }) => id)
}

/** Some captures, done. */
async function captureIds(): Promise<string[]> {
  const body = JSON.stringify({ namespace: 'shop', pod: 'web-node-a', container: 'counter' })
  const args = ['-H', `Authorization: Bearer ${TOKEN}`, '-H', 'Content-Type: application/json', '-d', body]
  for (let number = 0; number < 3; number += 1) {
    expect((await secured.curl('/v1/captures?wait=true', ...args)).status).toBe(201)
  }
  const { items } = (await get('/v1/captures')) as { items: { id: string }[] }
  return items.map(({ id }) => id)
}
