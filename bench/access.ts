import express from 'express'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAccess, OPEN_TO_ALL, type Access } from '../src/access/access.ts'
import { authorize } from '../src/http/authorize.ts'
import { checkpointRoutes } from '../src/http/checkpoint-routes.ts'
import { Judge } from '../src/http/judge.ts'
import { Rates, UNLIMITED } from '../src/http/rates.ts'
import { systemClock } from '../src/shared/clock.ts'
import { silentLogger } from '../src/shared/logger.ts'
import { CheckpointStore } from '../src/store/checkpoint-store.ts'
import { openDatabase } from '../src/store/database.ts'
import { TestApiServer } from '../test/support/api-server.ts'
import { sampleCheckpoint } from '../test/support/sample-checkpoints.ts'
import { announceRunTime, quantile, reportBounded } from './bounds.ts'

// What it costs a list to find out, from what is remembered, who asks and what they may see: with a token, and with
// rights in one namespace only.

const BOUND_MS = 0.3
const ROUNDS = 1500

announceRunTime('access')
const folder = mkdtempSync(join(tmpdir(), 'access-bench-'))
const database = openDatabase({ file: join(folder, 'state', 'index.db'), clock: systemClock, logger: silentLogger })
const store = new CheckpointStore(database)
store.saveAll(
  Array.from({ length: 1000 }, (_, index) => {
    const identity = { namespace: `space-${index % 20}`, pod: 'web-0', source: 'archive', isTrusted: true } as const
    return sampleCheckpoint(index, { identity })
  }),
)
const api = await TestApiServer.start()
api.tokens.set('good', { username: 'ada', groups: ['system:authenticated'] })
api.grants.push({ to: 'ada', namespace: 'space-1', verbs: ['list'], resources: ['checkpoints'] })
const access = await openAccess({
  mode: 'kubernetes',
  api: api.api,
  audiences: [],
  tokenTtlMs: 600_000,
  allowTtlMs: 600_000,
  denyTtlMs: 600_000,
  clientCaFile: undefined,
  clusterCertificates: false,
  clock: systemClock,
  logger: silentLogger,
})
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
const open = await serve(OPEN_TO_ALL, 'open.sock')
const guarded = await serve(access, 'guarded.sock')
try {
  const times = { open: [] as number[], guarded: [] as number[] }
  for (let round = -200; round < ROUNDS; round += 1) {
    // By turns, so that what else the machine does is the same for both.
    const without = await list(open.socketPath)
    const withAccess = await list(guarded.socketPath)
    if (round < 0) continue
    times.open.push(without)
    times.guarded.push(withAccess)
  }
  const [plain, asked] = [quantile(times.open, 0.5), quantile(times.guarded, 0.5)]
  reportBounded({
    name: 'access from what is remembered',
    value: asked - plain,
    bound: BOUND_MS,
    unit: ' ms',
    note: `p50 of a list ${asked.toFixed(3)} ms with it, ${plain.toFixed(3)} ms without, ${ROUNDS} of each by turns`,
  })
} finally {
  agent.destroy()
  access.stop()
  open.server.close()
  guarded.server.close()
  await api[Symbol.asyncDispose]()
  database.close()
  rmSync(folder, { recursive: true })
}

async function serve(who: Access, name: string) {
  const services = {
    list: store.list.bind(store),
    get: store.get.bind(store),
    namespaces: store.namespaces.bind(store),
    members: () => Promise.reject(new Error('not asked for here')),
  }
  const judge = new Judge(who.authorizer, 'node-a')
  const captures = { get: () => services.members() as never }
  const app = express()
    .set('query parser', false)
    .use(
      authorize({
        access: who,
        judge,
        rates: new Rates(judge, UNLIMITED),
        services: { checkpoints: services, captures },
        clock: systemClock,
      }),
    )
    .use(checkpointRoutes(services, { nodeName: 'node-a' }))
  const server = createServer(app)
  const socketPath = join(folder, name)
  server.listen(socketPath)
  await once(server, 'listening')
  return { server, socketPath }
}

/** One page; the same rows for both. */
async function list(socketPath: string): Promise<number> {
  const begun = performance.now()
  const path = '/v1/checkpoints?namespace=space-1&limit=20'
  const outgoing = request({ socketPath, path, agent, headers: { authorization: 'Bearer good' } }).end()
  const [answer] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer> & { statusCode?: number }]
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk)
  if (answer.statusCode !== 200) throw new Error(`answered ${answer.statusCode}: ${Buffer.concat(chunks).toString()}`)
  return performance.now() - begun
}
