import { connect } from 'node:net'
import type { TarMember } from '../../src/archive/tar-member.ts'
import type { CheckpointQuery } from '../../src/store/checkpoint-query.ts'
import { describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { CheckpointServices } from '../../src/http/checkpoint-services.ts'
import { NotFoundError } from '../../src/shared/errors.ts'
import { call } from './api-call.ts'
import { checkpoint, counter, recordingLogger, startApp, type ServiceChanges } from './http-services.ts'
import { rawRequest } from './raw-request.ts'

const whole = {
  id: '9f2c4e5a7b1d3c60',
  node: 'node-a',
  fileName: 'checkpoint-web-node-a_shop-counter-2026-11-20T21:34:08Z.tar',
  state: 'ready',
  problems: [{ code: 'TrailingBytes', weight: 'note', detail: '512 bytes follow its end' }],
  identity: { ...counter, source: 'archive' },
  kind: 'container',
  compression: 'none',
  engine: 'containerd',
  image: { name: 'docker.io/library/busybox:1.37', digest: 'sha256:11', id: 'sha256:22' },
  runtime: 'io.containerd.runc.v2',
  criuVersion: '4.2.1',
  createdAt: '2026-11-20T21:30:00.5Z',
  startedAt: '2026-11-20T21:30:01.000000001Z',
  takenAt: '2026-11-20T21:34:08.123456789Z',
  discoveredAt: '2026-11-20T21:34:08.500Z',
  sizeBytes: 264_704,
  memoryBytes: 139_264,
  rootfsDiffBytes: 201,
  processCount: 2,
  sha256: 'ab'.repeat(32),
  dumpStatistics: { freezingMicros: 463, frozenMicros: 34_219, pagesScanned: 48, pagesWritten: 34 },
  pin: { by: 'operator', reason: 'evidence' },
}

/** Of which nothing is known but that it is there. */
const bare: Checkpoint = (({ sha256: _sha256, pin: _pin, ...rest }) => rest)(
  checkpoint({
    state: 'damaged',
    problems: [],
    identity: { source: 'unknown', isTrusted: false },
    engine: 'unknown',
    summary: { kind: 'unknown', compression: 'none' },
  }),
)

describe('GET /v1/checkpoints', () => {
  it('shows each checkpoint whole, and no more', async () => {
    const answer = await listing({}, '')
    expect(answer.body).toEqual({ items: [whole], remaining: 0 })
  })

  it('shows the newest 100 where nothing is asked for', async () => {
    expect(await queryOf('')).toEqual({ filter: {}, order: { key: 'takenAt', isDescending: true }, limit: 100 })
  })

  it.each([
    { query: 'namespace=shop', filter: { namespace: 'shop' } },
    { query: 'pod=web-0', filter: { pod: 'web-0' } },
    { query: 'container=a%20b', filter: { container: 'a b' } },
    { query: 'podUid=u', filter: { podUid: 'u' } },
    { query: 'engine=cri-o', filter: { engine: 'cri-o' } },
    { query: 'state=incomplete', filter: { state: 'incomplete' } },
    { query: 'identitySource=name', filter: { identitySource: 'name' } },
    { query: 'reason=incident%207', filter: { reason: 'incident 7' } },
    { query: 'pinned=true', filter: { pinned: true } },
    { query: 'pinned=false', filter: { pinned: false } },
    { query: 'takenAfter=2026-01-31T12:00:00Z', filter: { takenAfter: new Date('2026-01-31T12:00:00Z') } },
    {
      query: 'takenBefore=2026-01-31T12:00:00.123456789%2B02:00',
      filter: { takenBefore: new Date('2026-01-31T10:00:00.123Z') },
    },
    { query: 'minBytes=0', filter: { minBytes: 0 } },
    { query: 'minBytes=1048576', filter: { minBytes: 1_048_576 } },
    { query: 'namespace=shop&pod=web-0&minBytes=1', filter: { namespace: 'shop', pod: 'web-0', minBytes: 1 } },
  ])('filters by $query', async ({ query, filter }) => {
    expect((await queryOf(`?${query}`)).filter).toEqual(filter)
  })

  it.each(['takenAt', 'discoveredAt', 'sizeBytes', 'fileName'] as const)('sorts by %s both ways', async (key) => {
    expect((await queryOf(`?sort=${key}`)).order).toEqual({ key, isDescending: false })
    expect((await queryOf(`?sort=-${key}`)).order).toEqual({ key, isDescending: true })
  })

  it.each(['takenAt', '-sizeBytes', 'fileName', '-discoveredAt'])('pages by %s to the end', async (sort) => {
    const rows = ['05', '04', '03', '02', '01'].map((id) => checkpoint({ id }))
    const queries: CheckpointQuery[] = []
    const list = pager(rows, queries)
    const seen: string[] = []
    const remaining: number[] = []
    let query = `?sort=${sort}&state=ready&limit=2`
    for (;;) {
      const answer = await listing({ list }, query)
      const page = answer.body as { items: { id: string }[]; continue?: string; remaining: number }
      seen.push(...page.items.map(({ id }) => id))
      remaining.push(page.remaining)
      if (page.continue === undefined) break
      expect(page.continue).toMatch(/^[A-Za-z0-9_-]+$/)
      // The limit is no part of the list.
      query = `?sort=${sort}&state=ready&limit=2&continue=${page.continue}`
    }
    expect(seen).toEqual(['05', '04', '03', '02', '01'])
    expect(remaining).toEqual([3, 1, 0])
    expect(queries.map(({ after }) => after?.id)).toEqual([undefined, '04', '02'])
    expect(new Set(queries.slice(1).map(({ after }) => typeof after?.value))).toEqual(
      new Set([sort === 'fileName' ? 'string' : 'number']),
    )
    expect(queries.every(({ filter, order }) => filter.state === 'ready' && sort.endsWith(order.key))).toBe(true)
  })

  it('goes on with another limit', async () => {
    const queries: CheckpointQuery[] = []
    const list = pager([checkpoint({ id: '02' }), checkpoint({ id: '01' })], queries)
    const { continue: token = '' } = (await listing({ list }, '?limit=1')).body as { continue?: string }
    await listing({ list }, `?limit=7&sort=-takenAt&continue=${token}`)
    expect(queries[1]).toMatchObject({ limit: 7, after: { id: '02' } })
  })

  it.each([
    'sort=takenAt',
    'sort=-sizeBytes',
    'sort=-fileName',
    'namespace=shop',
    'pinned=false',
    'takenAfter=2026-01-31T12:00:00Z',
  ])('refuses the token of another list: %s', async (changed) => {
    const list = pager([checkpoint({ id: '02' }), checkpoint({ id: '01' })], [])
    const { continue: token = '' } = (await listing({ list }, '?limit=1')).body as { continue?: string }
    const answer = await call({}, `GET /v1/checkpoints?${changed}&continue=${token}`)
    expect(answer.body).toMatchObject({
      status: 400,
      code: 'InvalidRequest',
      detail: 'Cannot read the request query: "continue" belongs to a list with another sort or other filters',
      problems: [{ in: 'query', name: 'continue' }],
    })
  })

  it('refuses a token that was changed', async () => {
    const list = pager([checkpoint({ id: '02' }), checkpoint({ id: '01' })], [])
    const { continue: token = '' } = (await listing({ list }, '?limit=1')).body as { continue?: string }
    const read = JSON.parse(Buffer.from(token, 'base64url').toString()) as object
    for (const change of [{ value: 'text' }, { value: null }, { id: 3 }, { list: 'x' }, { more: 1 }]) {
      const forged = Buffer.from(JSON.stringify({ ...read, ...change })).toString('base64url')
      const answer = await call({}, `GET /v1/checkpoints?continue=${forged}`)
      expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest' })
    }
  })

  it.each([
    { query: 'limit=0', reason: 'must be at least 1' },
    { query: 'limit=1001', reason: 'must be at most 1000' },
    ...['x', '', '0x10', '1e1', '1.5', '+1', '%201', '-1'].map((limit) => ({
      query: `limit=${limit}`,
      reason: 'must be a whole number',
    })),
    { query: 'namespace=', reason: 'must not be empty' },
    { query: 'engine=docker', reason: 'must be "containerd" or "cri-o" or "podman" or "unknown"' },
    { query: 'state=gone', reason: 'must be "discovered" or "hashing" or "ready" or "incomplete" or "damaged"' },
    { query: 'identitySource=me', reason: 'must be "observed" or "archive" or "name" or "unknown"' },
    { query: 'pinned=', reason: 'must be "true" or "false"' },
    { query: 'takenAfter=yesterday', reason: 'must be a time such as "2026-01-31T12:00:00Z"' },
    { query: 'takenAfter=2026-02-30T00:00:00Z', reason: 'must be a time such as "2026-01-31T12:00:00Z"' },
    { query: 'takenBefore=2026-01-31', reason: 'must be a time such as "2026-01-31T12:00:00Z"' },
    { query: 'minBytes=', reason: 'must be a whole number' },
    { query: 'minBytes=-1', reason: 'must be a whole number' },
    { query: 'minBytes=0x10', reason: 'must be a whole number' },
    { query: 'minBytes=1e30', reason: 'must be a whole number' },
    { query: 'continue=x', reason: 'is no token of a page of this list' },
    { query: 'continue=', reason: 'is no token of a page of this list' },
    { query: 'continue=e30', reason: 'is no token of a page of this list' },
    { query: 'page=2', reason: 'is not a parameter of this route' },
  ])('refuses $query', async ({ query, reason }) => {
    const answer = await call({}, `GET /v1/checkpoints?${query}`)
    const [name = ''] = query.split('=', 1)
    expect(answer.body).toMatchObject({
      status: 400,
      code: 'InvalidRequest',
      detail: `Cannot read the request query: "${name}" ${reason}`,
    })
  })

  it('names all that is wrong at once', async () => {
    const answer = await call(
      {},
      'GET /v1/checkpoints?nmaespace=x&sort=size&limit=0&continue=x&minBytes=no&takenAfter=1&limit=2',
    )
    const { problems } = answer.body as { problems: { name: string }[] }
    expect(problems.map(({ name }) => name).toSorted()).toEqual(
      ['continue', 'limit', 'minBytes', 'nmaespace', 'sort', 'takenAfter'].toSorted(),
    )
  })
})

describe('GET /v1/checkpoints/{id}', () => {
  it('shows it as the list does', async () => {
    const asked: string[] = []
    const answer = await showing((id) => (asked.push(id), checkpoint()))
    expect(answer.body).toEqual(whole)
    expect(asked).toEqual(['9f2c4e5a7b1d3c60'])
  })

  it('leaves out what is not known', async () => {
    const answer = await showing(() => bare)
    expect(answer.body).toEqual({
      id: bare.id,
      node: 'node-a',
      fileName: bare.fileName,
      state: 'damaged',
      problems: [],
      identity: { source: 'unknown' },
      kind: 'unknown',
      compression: 'none',
      engine: 'unknown',
      takenAt: bare.takenAt.text,
      discoveredAt: '2026-11-20T21:34:08.500Z',
      sizeBytes: bare.sizeBytes,
    })
  })

  it('shows nothing that the agent may add to a checkpoint', async () => {
    const path = '/var/lib/kubelet/checkpoints'
    const { identity, summary } = checkpoint()
    const problem = { code: 'X', weight: 'note' as const, detail: 'd', path }
    const more = {
      ...checkpoint({ problems: [problem] }),
      identity: { ...identity, path },
      summary: { ...summary, path, dumpStatistics: { ...summary.dumpStatistics, path: 1 } },
      path,
    }
    expect((await showing(() => more)).text).not.toContain('path')
  })

  it('tells a caller that knows it that it is as it was', async () => {
    const first = await showing(() => checkpoint())
    const etag = String(first.headers['etag'])
    expect(etag).toMatch(/^"[0-9a-f]{16}\.[0-9a-f]{16}"$/)
    for (const given of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const again = await showing(() => checkpoint(), { 'if-none-match': given })
      expect(again).toMatchObject({ status: 304, text: '' })
      expect(again.headers['etag']).toBe(etag)
    }
    expect((await showing(() => checkpoint(), { 'if-none-match': '"x"' })).status).toBe(200)
  })

  it.each([
    { name: 'the file is another one', changes: { generation: '9:9:9' }, isSameFile: false },
    { name: 'its digest is known', changes: { state: 'ready' as const, sha256: 'cd'.repeat(32) }, isSameFile: true },
    { name: 'it is pinned for another reason', changes: { pin: { by: 'us' as const } }, isSameFile: true },
  ])('has another ETag when $name', async ({ changes, isSameFile }) => {
    const [before = '', after = ''] = await Promise.all(
      [checkpoint(), checkpoint(changes)].map(async (shown) => String((await showing(() => shown)).headers['etag'])),
    )
    expect(after).not.toBe(before)
    expect(after.split('.')[0] === before.split('.')[0]).toBe(isSameFile)
    expect((await showing(() => checkpoint(changes), { 'if-none-match': before })).status).toBe(200)
  })

  it('knows no other checkpoint', async () => {
    const asked: string[] = []
    const answer = await call({ checkpoints: { get: unknown(asked) } }, 'GET /v1/checkpoints/a%2Fb')
    expect(answer.body).toMatchObject({ status: 404, code: 'CheckpointNotFound' })
    expect(asked).toEqual(['a/b'])
  })

  it('takes no parameters', async () => {
    const answer = await call({ checkpoints: { get: () => checkpoint() } }, 'GET /v1/checkpoints/x?verbose=true')
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest' })
  })
})

describe('GET /v1/checkpoints/{id}/members', () => {
  const names = ['checkpoint', 'checkpoint/pages-1.img', 'config.dump', 'spec.dump', 'stats-dump']
  const members = names.map((name, index) => member({ name, offset: index * 1024 }))
  const oneByOne: CheckpointServices['members'] = async (_checkpoint, { skip }) => {
    const shown = members.slice(skip, skip + 1)
    return { members: shown, remaining: members.length - skip - shown.length, problems: [] }
  }

  it('shows them in the order of the archive, with what the reading found', async () => {
    const problems = [{ code: 'CutOff', weight: 'cut' as const, detail: 'it ends in a member' }]
    const answer = await reading(async () => ({ members: [member({})], remaining: 0, problems }), '')
    expect(answer.body).toEqual({
      items: [
        {
          name: 'config.dump',
          type: 'file',
          sizeBytes: 519,
          offset: 512,
          modifiedAt: '2026-11-20T21:34:08.00000012Z',
        },
      ],
      remaining: 0,
      problems,
    })
  })

  it('shows where a link leads, and nothing else that a member has', async () => {
    const link = { ...member({ type: 'symbolic-link', linkName: '../x' }), secret: 1 }
    const answer = await reading(async () => ({ members: [link], remaining: 0, problems: [] }), '')
    expect(answer.body).toMatchObject({ items: [{ type: 'symbolic-link', linkName: '../x' }] })
    expect(answer.text).not.toContain('secret')
  })

  it.each([
    { modifiedSeconds: 0, modifiedNanos: 0, shown: undefined },
    { modifiedSeconds: 0, modifiedNanos: 1, shown: '1970-01-01T00:00:00.000000001Z' },
    { modifiedSeconds: -1, modifiedNanos: 500_000_000, shown: '1969-12-31T23:59:59.5Z' },
    { modifiedSeconds: -62_167_219_200, modifiedNanos: 0, shown: '0000-01-01T00:00:00Z' },
    { modifiedSeconds: -62_167_219_201, modifiedNanos: 0, shown: undefined },
    { modifiedSeconds: 253_402_300_799, modifiedNanos: 0, shown: '9999-12-31T23:59:59Z' },
    { modifiedSeconds: 253_402_300_800, modifiedNanos: 0, shown: undefined },
    { modifiedSeconds: Number.MAX_SAFE_INTEGER, modifiedNanos: 0, shown: undefined },
  ])('shows $modifiedSeconds s and $modifiedNanos ns as $shown', async ({ shown, ...time }) => {
    const answer = await reading(async () => ({ members: [member(time)], remaining: 0, problems: [] }), '')
    const [item] = (answer.body as { items: { modifiedAt?: string }[] }).items
    expect(item?.modifiedAt).toBe(shown)
  })

  it('pages to the end', async () => {
    const asked: { skip: number; limit: number }[] = []
    const read: CheckpointServices['members'] = async (_id, { skip, limit }) => {
      asked.push({ skip, limit })
      const shown = members.slice(skip, skip + limit)
      return { members: shown, remaining: members.length - skip - shown.length, problems: [] }
    }
    const seen: string[] = []
    let query = '?limit=2'
    for (;;) {
      const page = (await reading(read, query)).body as { items: { name: string }[]; continue?: string }
      seen.push(...page.items.map(({ name }) => name))
      if (page.continue === undefined) break
      query = `?limit=2&continue=${page.continue}`
    }
    expect(seen).toEqual(names)
    expect(asked).toEqual([0, 2, 4].map((skip) => ({ skip, limit: 2 })))
  })

  it('goes on where a page ended before its limit, as one of long names does', async () => {
    const seen: string[] = []
    for (let query: string | undefined = ''; query !== undefined;) {
      const page = (await reading(oneByOne, query)).body as { items: { name: string }[]; continue?: string }
      seen.push(...page.items.map(({ name }) => name))
      query = page.continue && `?continue=${page.continue}`
    }
    expect(seen).toEqual(names)
  })

  it('does not go on in a file that has changed', async () => {
    const token = await tokenOfFirstPage()
    const answer = await reading(unread, `?continue=${token}`, checkpoint({ generation: '9:9:9' }))
    expect(answer.body).toMatchObject({ status: 409, code: 'CheckpointChanged' })
  })

  it('does not go on in another archive', async () => {
    const token = await tokenOfFirstPage()
    const answer = await reading(unread, `?continue=${token}`, checkpoint({ id: '0000000000000001' }))
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest', problems: [{ name: 'continue' }] })
  })

  it.each(['limit=0', 'limit=1001', 'continue=x', 'continue=e30', 'sort=name'])('refuses %s', async (query) => {
    const answer = await call({ checkpoints: { get: () => checkpoint() } }, `GET /v1/checkpoints/x/members?${query}`)
    expect(answer.body).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect((answer.body as { detail: string }).detail).toContain(`"${query.split('=', 1)[0] ?? ''}"`)
  })

  it('reads nothing of a checkpoint that is not there', async () => {
    const answer = await call({ checkpoints: { get: unknown([]) } }, 'GET /v1/checkpoints/x/members')
    expect(answer.body).toMatchObject({ status: 404, code: 'CheckpointNotFound' })
  })

  it('passes on that the archive is gone', async () => {
    const gone = new NotFoundError('Cannot find checkpoint "x"', { code: 'CheckpointNotFound' })
    const answer = await reading(() => Promise.reject(gone), '')
    expect(answer.body).toMatchObject({ status: 404, code: 'CheckpointNotFound' })
  })

  it('reads the row that its caller was let in for, not the one that has taken its place since', async () => {
    const rows = ['first', 'second'].map((generation) => checkpoint({ generation }))
    const read: Checkpoint[] = []
    const changes: ServiceChanges = {
      checkpoints: {
        get: () => rows.shift() ?? checkpoint(),
        members: async (row) => {
          read.push(row)
          return { members: [], remaining: 0, problems: [] }
        },
      },
      custody: {
        manifest: (row) => {
          read.push(row)
          return { payloadType: '', payload: '', signatures: [] }
        },
      },
    }
    for (const part of ['members', 'manifest']) await call(changes, `GET /v1/checkpoints/x/${part}`)
    expect(read.map(({ generation }) => generation)).toEqual(['first', 'second'])
  })

  it('stops reading for a caller that has left, and tells nobody of it', async () => {
    const logger = recordingLogger()
    const begun = Promise.withResolvers<void>()
    const port = await startApp(
      {
        checkpoints: {
          get: () => checkpoint(),
          members: (_checkpoint, { signal }) =>
            new Promise((_resolve, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason as Error))
              begun.resolve()
            }),
        },
      },
      logger,
    )
    const caller = connect(port, '127.0.0.1')
    caller.write('GET /v1/checkpoints/x/members HTTP/1.1\r\nHost: x\r\n\r\n')
    await begun.promise
    caller.destroy()
    await expect.poll(() => logger.lines.map(({ message }) => message)).toEqual(['Caller left before the answer'])
    await new Promise((resolve) => setImmediate(resolve))
    expect(logger.lines).toHaveLength(1)
  })
})

describe.each([
  { path: '/v1/checkpoints', allowed: 'GET, HEAD' },
  { path: '/v1/checkpoints/x', allowed: 'GET, HEAD, DELETE' },
  { path: '/v1/checkpoints/x/members', allowed: 'GET, HEAD' },
])('$path', ({ path, allowed }) => {
  it('knows no other method', async () => {
    const answer = await rawRequest(await startApp(), { method: 'POST', path })
    expect(answer.status).toBe(405)
    expect(answer.headers['allow']).toBe(allowed)
  })
})

function listing(
  { list = () => ({ items: [checkpoint()], remaining: 0, next: undefined }) }: Partial<CheckpointServices>,
  query: string,
) {
  return call({ checkpoints: { list } }, `GET /v1/checkpoints${query}`)
}

async function queryOf(query: string): Promise<CheckpointQuery> {
  const queries: CheckpointQuery[] = []
  await listing({ list: pager([], queries) }, query)
  const [first] = queries
  if (first === undefined) throw new Error('The list was not asked for')
  return first
}

/** Pages through rows that are in the order of the list already. */
function pager(rows: readonly Checkpoint[], queries: CheckpointQuery[]): CheckpointServices['list'] {
  return (query) => {
    queries.push(query)
    const { after, limit, order } = query
    const begin = after === undefined ? 0 : rows.findIndex(({ id }) => id === after.id) + 1
    const items = rows.slice(begin, begin + limit)
    const last = items.at(-1)
    const remaining = rows.length - begin - items.length
    const value = order.key === 'fileName' ? (last?.fileName ?? '') : (last?.sizeBytes ?? 0)
    return { items, remaining, next: remaining === 0 || last === undefined ? undefined : { value, id: last.id } }
  }
}

function showing(get: CheckpointServices['get'], headers: Readonly<Record<string, string>> = {}) {
  return call({ checkpoints: { get } }, 'GET /v1/checkpoints/9f2c4e5a7b1d3c60', { headers })
}

function reading(members: CheckpointServices['members'], query: string, shown = checkpoint()) {
  return call({ checkpoints: { get: () => shown, members } }, `GET /v1/checkpoints/${shown.id}/members${query}`)
}

async function tokenOfFirstPage(): Promise<string> {
  const { continue: token = '' } = (await reading(firstPage, '')).body as { continue?: string }
  expect(token).not.toBe('')
  return token
}

const firstPage: CheckpointServices['members'] = async () => ({ members: [member({})], remaining: 1, problems: [] })

const unread: CheckpointServices['members'] = () => {
  throw new Error('The test did not expect a look into the archive')
}

function unknown(asked: string[]): CheckpointServices['get'] {
  return (id) => {
    asked.push(id)
    throw new NotFoundError(`Cannot find checkpoint "${id}"`, { code: 'CheckpointNotFound' })
  }
}

function member(changes: Partial<TarMember>): TarMember {
  return {
    name: 'config.dump',
    type: 'file',
    sizeBytes: 519,
    offset: 512,
    modifiedSeconds: 1_795_210_448,
    modifiedNanos: 120,
    ...changes,
  }
}
