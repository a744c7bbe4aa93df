import type { SweepReport } from '../../src/checkpoint/sweep-report.ts'
import type { PlannedRemoval } from '../../src/retention/plan-types.ts'
import { describe, expect, it } from 'vitest'
import type { OpenPlan, RetentionServices } from '../../src/http/retention-services.ts'
import { ConflictError, UnavailableError } from '../../src/shared/errors.ts'
import { call } from './api-call.ts'

const JSON_BODY = { 'content-type': 'application/json' }

const none = { count: 0, archives: [] }
const report: SweepReport = {
  id: '01JD5V3GQ4Z8E0M2N6R7T9W1XY',
  startedAt: '2026-11-20T21:34:08.123Z',
  millis: 12,
  trigger: 'api',
  user: 'alice',
  planId: 'plan-1',
  outcome: 'done',
  removed: { count: 1, bytes: 1024 },
  byRule: { default: { count: 1, bytes: 1024 } },
  failed: none,
  skipped: { count: 1, archives: [{ id: 'b', fileName: 'b.tar', code: 'Pinned', reason: 'it is pinned' }] },
  blocked: [{ limit: 'maxCount 1', overBytes: 7, overCount: 1, by: [{ id: 'b', fileName: 'b.tar', why: 'pinned' }] }],
  diskNotOurs: false,
}

function planned(id: string): PlannedRemoval {
  return {
    archive: {
      id,
      fileName: `${id}.tar`,
      generation: '1:1024:1',
      state: 'ready',
      engine: 'containerd',
      sizeBytes: 1024,
      takenAtMillis: Date.UTC(2026, 0, 31),
      modifiedAtMillis: Date.UTC(2026, 0, 31),
      isPinned: false,
      isInUse: false,
      identity: { namespace: 'shop', pod: 'web', container: 'counter', source: 'archive', isTrusted: true },
    },
    reasons: [{ code: 'maxAge', rule: 'default', text: 'maxAge 30d (default)' }],
  }
}

function planOf(remove: readonly string[], keep: readonly string[], closed: { count: number }): OpenPlan {
  const lists = { remove: remove.map(planned), keep: keep.map(planned) }
  const archives = remove.length + keep.length
  return {
    head: {
      id: 'plan-1',
      blocked: report.blocked,
      diskNotOurs: false,
      totals: { archives, bytes: archives * 1024, removedArchives: remove.length, removedBytes: remove.length * 1024 },
    },
    page: async (list, { skip, count }) => lists[list].slice(skip, skip + count),
    [Symbol.dispose]: () => {
      closed.count += 1
    },
  }
}

function planService(remove: readonly string[], keep: readonly string[]) {
  const asked: unknown[] = []
  const closed = { count: 0 }
  const retention: Partial<RetentionServices> = {
    plan: async (order) => {
      asked.push(order)
      return planOf(remove, keep, closed)
    },
  }
  return { asked, closed, retention }
}

interface PlanBody {
  readonly remove: readonly { readonly id: string }[]
  readonly keep?: readonly { readonly id: string }[]
  readonly continue?: string
}

const ids = (list: readonly { readonly id: string }[] = []) => list.map(({ id }) => id)

describe('GET /v1/retention', () => {
  it('shows the policy in force, what is wrong with the next one, and what was done last', async () => {
    const status = () => ({
      policy: { schedule: '' },
      mistakes: ['retention.rules: it must be a list'],
      isSweeping: true,
      nextSweepAt: new Date('2026-11-20T21:40:00Z'),
      lastSweep: report,
    })
    const answer = await call({ retention: { status } }, 'GET /v1/retention')
    expect(answer.body).toEqual({
      policy: { schedule: '' },
      mistakes: ['retention.rules: it must be a list'],
      sweeping: true,
      nextSweepAt: '2026-11-20T21:40:00.000Z',
      lastSweep: report,
    })
  })
})

describe('POST /v1/retention/plan', () => {
  it('says what would go, and why', async () => {
    const { retention, asked, closed } = planService(['a'], ['b'])
    const answer = await call({ retention }, 'POST /v1/retention/plan')
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      id: 'plan-1',
      remove: [
        {
          id: 'a',
          fileName: 'a.tar',
          sizeBytes: 1024,
          takenAt: '2026-01-31T00:00:00.000Z',
          state: 'ready',
          namespace: 'shop',
          pod: 'web',
          container: 'counter',
          reasons: ['maxAge 30d (default)'],
          codes: ['maxAge'],
        },
      ],
      blocked: report.blocked,
      diskNotOurs: false,
      totals: { archives: 2, bytes: 2048, removedArchives: 1, removedBytes: 1024 },
    })
    expect(asked).toEqual([{ withKept: false }])
    expect(closed.count).toBe(1)
  })

  it('pages through what goes and then through what stays, each once', async () => {
    const { retention, asked } = planService(['a', 'b', 'c'], ['d', 'e'])
    const seen: string[] = []
    let next = ''
    for (let pages = 0; pages < 10; pages += 1) {
      const { body } = await call({ retention }, `POST /v1/retention/plan?include=keep&limit=2${next}`)
      const page = body as PlanBody
      seen.push(...ids(page.remove), ...ids(page.keep))
      if (page.continue === undefined) break
      next = `&continue=${page.continue}`
    }
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(asked).toEqual(asked.map(() => ({ withKept: true })))
  })

  it('refuses the next page of a plan that is another one by now', async () => {
    const { retention, closed } = planService(['a', 'b'], [])
    const token = Buffer.from(JSON.stringify({ plan: 'plan-0', skip: 1 })).toString('base64url')
    const answer = await call({ retention }, `POST /v1/retention/plan?continue=${token}`)
    expect(answer.status).toBe(409)
    expect(answer.body).toMatchObject({ code: 'PlanChanged' })
    expect(closed.count).toBe(1)
  })

  it('tries another policy', async () => {
    const { retention, asked } = planService([], [])
    const policy = { rules: [{ maxCount: 3 }] }
    await call({ retention }, 'POST /v1/retention/plan', { headers: JSON_BODY, body: { policy } })
    expect(asked).toEqual([{ policy, withKept: false }])
  })

  it.each(['include=all', 'limit=0', 'continue=x', 'a=b'])('refuses %s', async (query) => {
    expect((await call({}, `POST /v1/retention/plan?${query}`)).status).toBe(400)
  })
})

describe('POST /v1/retention/sweep', () => {
  it('does it, in the name of the caller', async () => {
    const asked: unknown[] = []
    const sweep: RetentionServices['sweep'] = async (order) => (asked.push(order), report)
    const answer = await call({ retention: { sweep } }, 'POST /v1/retention/sweep')
    expect(answer.body).toEqual(report)
    expect(asked).toMatchObject([{ trigger: 'api', actor: { user: expect.any(String) as string } }])
    expect(asked[0]).not.toHaveProperty('planId')
  })

  it('does the plan that was looked at', async () => {
    const asked: unknown[] = []
    const sweep: RetentionServices['sweep'] = async (order) => (asked.push(order), report)
    const request = { headers: JSON_BODY, body: { planId: 'plan-1' } }
    await call({ retention: { sweep } }, 'POST /v1/retention/sweep', request)
    expect(asked).toMatchObject([{ planId: 'plan-1' }])
  })

  it.each([
    [409, new ConflictError('no', { code: 'PlanChanged' })],
    [409, new ConflictError('no', { code: 'SweepRunning' })],
    [503, new UnavailableError('no', { code: 'CustodyUnavailable' })],
  ])('answers %i when it cannot', async (status, error) => {
    const sweep: RetentionServices['sweep'] = () => Promise.reject(error)
    const answer = await call({ retention: { sweep } }, 'POST /v1/retention/sweep')
    expect(answer.status).toBe(status)
    expect(answer.body).toMatchObject({ code: error.code })
  })

  it('knows no other field', async () => {
    const request = { headers: JSON_BODY, body: { dryRun: true } }
    expect((await call({}, 'POST /v1/retention/sweep', request)).status).toBe(400)
  })
})

describe('GET /v1/retention/history', () => {
  it('shows a page, and where the next one begins', async () => {
    const asked: unknown[] = []
    const history: RetentionServices['history'] = (page) => (asked.push(page), { reports: [report], remaining: 3 })
    const first = await call({ retention: { history } }, 'GET /v1/retention/history?limit=1')
    const { continue: token } = first.body as { continue: string }
    expect(first.body).toEqual({ items: [report], continue: token, remaining: 3 })
    await call({ retention: { history } }, `GET /v1/retention/history?limit=1&continue=${token}`)
    expect(asked).toEqual([{ limit: 1 }, { limit: 1, before: report.id }])
  })
})
