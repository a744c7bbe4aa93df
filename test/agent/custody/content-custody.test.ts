import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { ContentCustody, type ContentCustodyOptions } from '../../../src/agent/custody/content-custody.ts'
import type { ContentIntent } from '../../../src/agent/content/content-recorder.ts'
import type { CustodyDraft } from '../../../src/custody/custody-entry.ts'
import { boundDraft, MAX_CALLER_LINE_BYTES } from '../../../src/custody/draft-bounds.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { checkpoint } from '../../http/http-services.ts'

const ALICE = { user: 'alice', groups: [], address: '10.0.0.7' }
const MIB = 1024 ** 2
const GIB = 1024 ** 3

function intent(changes: Partial<ContentIntent> = {}): ContentIntent {
  return { actor: ALICE, checkpoint: checkpoint(), what: 'archive', recipients: [], ...changes }
}

function range(first: number, end: number, sizeBytes = 264_704) {
  return { range: { first, end, sizeBytes } }
}

function member(name: string): ContentIntent {
  return intent({ what: 'member', member: name, range: { first: 0, end: 10, sizeBytes: 10 } })
}

function recorded(changes: Partial<ContentCustodyOptions> = {}, isFull = () => false) {
  const drafts: CustodyDraft[] = []
  const record = async (draft: CustodyDraft) => {
    await Promise.resolve()
    if (isFull()) throw new UnavailableError('full', { code: 'CustodyUnavailable' })
    drafts.push(draft)
    return { ...draft, seq: drafts.length, time: '', node: '', previous: '', hash: '' }
  }
  const custody = { recordContent: record, note: async (draft: CustodyDraft) => void (await record(draft)) }
  const content = new ContentCustody({ custody, node: 'node-a', logger: silentLogger, ...changes })
  return { drafts, content }
}

async function send(content: ContentCustody, given: ContentIntent): Promise<void> {
  await content.begin(given)
  const { first = 0, end = 0 } = given.range ?? {}
  await content.end({ intent: given, result: 'sent', sentBytes: end - first })
}

/** Whether an entry that was written before covers this range. */
function isAnnounced(drafts: readonly CustodyDraft[], first: number, end: number): boolean {
  return drafts.some(({ outcome, detail }) => {
    const [from = 0, to = -1] = String(detail?.['range']).split('-').map(Number)
    return outcome === 'intended' && from <= first && end <= to + 1
  })
}

const rangesIn = (detail: CustodyDraft['detail']) => detail?.['ranges'] as readonly string[]

describe('a window of content', () => {
  it('announces once what many ranges of one client are inside of, and tells what was sent', async () => {
    const { drafts, content } = recorded()
    const given = [range(0, 100), range(100, 200), range(500, 600), range(150, 300), range(1_000, 2_000)].map((part) =>
      intent(part),
    )
    await Promise.all(given.map((one) => content.begin(one)))
    expect(drafts).toMatchObject([
      { action: 'content', outcome: 'intended', detail: { range: '0-264703', upTo: 'the whole' } },
    ])
    for (const one of given.slice(0, 4)) {
      await content.end({ intent: one, result: 'sent', sentBytes: (one.range?.end ?? 0) - (one.range?.first ?? 0) })
    }
    await content.end({ intent: given[4] ?? intent(), result: 'left', sentBytes: 10 })
    await content.close()
    expect(drafts).toHaveLength(2)
    expect(drafts[1]).toMatchObject({
      outcome: 'done',
      detail: {
        intent: 1,
        result: 'left',
        announced: '0-264703',
        requests: 5,
        sentBytes: 460,
        ranges: ['0-299', '500-599', '1000-1009'],
      },
    })
  })

  it('covers every range before it is let through, with at most 12 entries for 64 GiB', async () => {
    const sizeBytes = 64 * GIB
    const place = fc.record({ first: fc.nat(sizeBytes - 1), bytes: fc.integer({ min: 1, max: 4 * GIB }) })
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 60 }), async (places) => {
        const { drafts, content } = recorded()
        for (const { first, bytes } of places) {
          const end = Math.min(sizeBytes, first + bytes)
          await content.begin(intent(range(first, end, sizeBytes)))
          expect(isAnnounced(drafts, first, end)).toBe(true)
        }
        expect(drafts.length).toBeLessThanOrEqual(12)
      }),
      { numRuns: 200 },
    )
  })

  it.each([
    { order: 'from its beginning', firstOf: (step: number) => step * 256 * 1024 },
    { order: 'from its end', firstOf: (step: number) => 64 * GIB - (step + 1) * 256 * 1024 },
    {
      order: 'from its middle to both sides',
      firstOf: (step: number) => 32 * GIB + (step % 2 === 0 ? step : -step) * 128 * 1024,
    },
  ])('takes at most 12 entries for the small ranges of a reader of 64 GiB $order', async ({ firstOf }) => {
    const { drafts, content } = recorded()
    for (let step = 0; step < 262_144; step += 37) {
      const first = Math.max(0, Math.min(64 * GIB - 1, firstOf(step)))
      await send(content, intent(range(first, Math.min(64 * GIB, first + 256 * 1024), 64 * GIB)))
    }
    expect(drafts.length).toBeGreaterThan(8)
    expect(drafts.length).toBeLessThanOrEqual(12)
    expect(drafts[1]?.detail).toMatchObject({ intent: 1 })
  })

  it('announces the whole to its end for a range that has none', async () => {
    const { drafts, content } = recorded()
    await send(content, intent(range(100 * MIB, GIB, GIB)))
    expect(drafts[0]?.detail).toMatchObject({ range: `${100 * MIB}-${GIB - 1}` })
  })

  it('is one for concurrent requests of many ranges', async () => {
    const { drafts, content } = recorded()
    const firsts = Array.from({ length: 500 }, (_, index) => ((index * 7919) % 500) * 2 * MIB)
    await Promise.all(
      firsts.map(async (first) => {
        await content.begin(intent(range(first, first + MIB, GIB)))
        expect(isAnnounced(drafts, first, first + MIB)).toBe(true)
      }),
    )
    expect(drafts.length).toBeLessThanOrEqual(6)
  })

  it('counts members in the window of their archive, announced up to the whole, and names the first 200', async () => {
    const { drafts, content } = recorded()
    await send(content, intent(range(0, 1_000)))
    const names = Array.from({ length: 300 }, (_, index) => `m${index}`)
    for (const name of names) await send(content, member(name))
    await send(content, intent({ what: 'rootfs-diff' }))
    await content.close()
    expect(drafts).toHaveLength(2)
    expect(drafts[1]?.detail).toMatchObject({
      ranges: ['0-999'],
      rootfsDiffs: 1,
      sentBytes: 4_000,
      members: {
        requests: 300,
        names: names.slice(0, 200),
        sha256: createHash('sha256')
          .update(names.map((name) => `${name}\0`).join(''))
          .digest('hex'),
      },
    })
    const first = recorded()
    await first.content.begin(member('spec.dump'))
    expect(first.drafts[0]?.detail).toMatchObject({
      what: 'member',
      member: 'spec.dump',
      range: `0-${checkpoint().sizeBytes - 1}`,
      upTo: 'the whole',
    })
  })

  it('merges the nearest of more than 200 ranges, says so, and covers all of them', async () => {
    const { drafts, content } = recorded()
    const ranges = Array.from({ length: 250 }, (_, index) => index * 1_000 + (index < 51 ? 0 : 50_000))
    for (const first of ranges) await send(content, intent(range(first, first + (first < 51_000 ? 990 : 10), 400_000)))
    await content.close()
    const { detail } = drafts.at(-1) ?? {}
    const told = rangesIn(detail).map((text) => text.split('-').map(Number))
    expect(told).toHaveLength(200)
    expect(detail).toMatchObject({ approximate: true })
    for (const first of ranges) {
      expect(told.some(([from = 0, to = -1]) => from <= first && first + 9 <= to)).toBe(true)
    }
  })

  it('ends with an entry that fits, whatever is in it', async () => {
    const actor = { user: 'u'.repeat(300), groups: Array.from({ length: 2_000 }, (_, n) => `${n}`.repeat(60)) }
    const { drafts, content } = recorded()
    const size = 64 * GIB
    for (let index = 0; index < 3_000; index += 1) {
      const first = size - 1 - index * 20_000_000
      await send(content, intent({ actor, ...range(first, first + 1, size) }))
      await send(content, { ...member(`${'\u{1F600}"\\'.repeat(100)}${index}`), actor })
    }
    const failed = intent({ actor, ...range(0, 100, size) })
    await content.begin(failed)
    await content.end({ intent: failed, result: 'failed', sentBytes: 50, error: 'e'.repeat(10_000) })
    await content.close()
    const end = drafts.at(-1)
    const { detail } = boundDraft(end ?? { actor, action: 'content', outcome: 'done' }, 'node-a')
    expect(detail).not.toHaveProperty('shortenedFromBytes')
    expect(JSON.stringify(detail).length).toBeLessThan(MAX_CALLER_LINE_BYTES)
    expect(detail).toMatchObject({ approximate: true, members: { requests: 3_000 }, result: 'failed' })
    const [lowest = ''] = rangesIn(detail)
    expect(lowest).toMatch(/^0-/)
  })

  it.each([
    { other: 'user', changes: { actor: { ...ALICE, user: 'bob' } } },
    { other: 'address', changes: { actor: { ...ALICE, address: '10.0.0.8' } } },
    { other: 'recipients', changes: { recipients: ['age1abc'] } },
    { other: 'generation', changes: { checkpoint: checkpoint({ generation: 'another' }) } },
  ])('is not shared with another $other', async ({ changes }) => {
    const { drafts, content } = recorded()
    await send(content, intent())
    await send(content, intent({ actor: { ...ALICE, groups: ['others'] } }))
    expect(drafts).toHaveLength(1)
    await send(content, intent(changes))
    expect(drafts).toHaveLength(2)
  })

  it('ends a while after its last request, and takes none when it is old', async () => {
    const { drafts, content } = recorded({ idleMs: 20, maxAgeMs: 150 })
    const first = intent(range(0, 100))
    await content.begin(first)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(drafts).toHaveLength(1)
    const second = intent(range(100, 200))
    await content.begin(second)
    expect(drafts.map(({ outcome }) => outcome)).toEqual(['intended', 'intended'])
    await content.end({ intent: first, result: 'sent', sentBytes: 100 })
    await vi.waitUntil(() => drafts.length === 3, { timeout: 5_000 })
    expect(drafts[2]).toMatchObject({ outcome: 'done', detail: { intent: 1, sentBytes: 100 } })
    await content.end({ intent: second, result: 'failed', sentBytes: 7, error: 'EIO' })
    await vi.waitUntil(() => drafts.length === 4, { timeout: 5_000 })
    expect(drafts[3]).toMatchObject({ outcome: 'failed', detail: { intent: 2, ranges: ['100-106'], error: 'EIO' } })
    await content.close()
    expect(drafts).toHaveLength(4)
  })

  it('ends early where there are too many', async () => {
    const { drafts, content } = recorded({ maxWindows: 3 })
    for (let user = 0; user < 5; user += 1) await send(content, intent({ actor: { ...ALICE, user: `u${user}` } }))
    await vi.waitUntil(() => drafts.length === 7, { timeout: 5_000 })
    await content.close()
    expect(drafts.filter(({ outcome }) => outcome === 'done')).toHaveLength(5)
  })

  it('says of a reader that the agent left behind that nobody knows how it ended', async () => {
    const { drafts, content } = recorded()
    await content.begin(intent())
    await content.close()
    expect(drafts[1]).toMatchObject({ outcome: 'unknown', detail: { result: 'agent-ended', announced: '0-264703' } })
  })

  it('gives nothing to anybody while the log cannot be written, and asks again each time', async () => {
    let isFull = true
    const { drafts, content } = recorded({}, () => isFull)
    await expect(content.begin(intent())).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    await expect(content.begin(intent())).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    isFull = false
    await send(content, intent(range(0, 100, GIB)))
    isFull = true
    await send(content, intent(range(200, 300, GIB)))
    await expect(content.begin(intent(range(0, GIB, GIB)))).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    isFull = false
    await content.close()
    expect(drafts.map(({ outcome }) => outcome)).toEqual(['intended', 'done'])
    expect(drafts[1]?.detail).toMatchObject({ ranges: ['0-99', '200-299'], requests: 2 })
  })
})
