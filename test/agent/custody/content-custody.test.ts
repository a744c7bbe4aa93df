import { describe, expect, it } from 'vitest'
import { ContentCustody } from '../../../src/agent/custody/content-custody.ts'
import type { ContentIntent } from '../../../src/agent/content/content-recorder.ts'
import type { CustodyDraft } from '../../../src/custody/custody-entry.ts'
import { UnavailableError } from '../../../src/shared/errors.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { checkpoint } from '../../http/http-services.ts'

const ALICE = { user: 'alice', groups: [], address: '10.0.0.7' }

function intent(changes: Partial<ContentIntent> = {}): ContentIntent {
  return { actor: ALICE, checkpoint: checkpoint(), what: 'archive', recipients: [], ...changes }
}

function range(first: number, end: number) {
  return { range: { first, end, sizeBytes: 264_704 } }
}

function recorded(isFull = false) {
  const drafts: CustodyDraft[] = []
  const record = async (draft: CustodyDraft) => {
    if (isFull) throw new UnavailableError('full', { code: 'CustodyUnavailable' })
    drafts.push(draft)
    return { ...draft, seq: drafts.length, time: '', node: '', previous: '', hash: '' }
  }
  const custody = { record, note: async (draft: CustodyDraft) => void (await record(draft)) }
  return { drafts, custody }
}

describe('ContentCustody', () => {
  it('makes one pair of entries of the many ranges of one client', async () => {
    const { drafts, custody } = recorded()
    const content = new ContentCustody({ custody, logger: silentLogger })
    const given = [range(0, 100), range(100, 200), range(500, 600), range(150, 300), range(1_000, 2_000)].map((part) =>
      intent(part),
    )
    await Promise.all(given.map((one) => content.begin(one)))
    expect(drafts).toMatchObject([{ action: 'content', outcome: 'intended', detail: { range: '0-99' } }])
    for (const one of given.slice(0, 4)) {
      await content.end({ intent: one, result: 'sent', sentBytes: (one.range?.end ?? 0) - (one.range?.first ?? 0) })
    }
    await content.end({ intent: given[4] ?? intent(), result: 'left', sentBytes: 10 })
    await content.close()
    expect(drafts).toHaveLength(2)
    expect(drafts[1]).toMatchObject({
      outcome: 'done',
      detail: { intent: 1, result: 'left', requests: 5, sentBytes: 460, ranges: ['0-299', '500-599', '1000-1009'] },
    })
  })

  it('tells clients, archives, members and recipients apart', async () => {
    const { drafts, custody } = recorded()
    const content = new ContentCustody({ custody, logger: silentLogger })
    await content.begin(intent())
    await content.begin(intent({ actor: { ...ALICE, user: 'bob' } }))
    await content.begin(intent({ what: 'member', member: 'spec.dump' }))
    await content.begin(intent({ recipients: ['age1abc'] }))
    await content.begin(intent({ checkpoint: checkpoint({ generation: 'another' }) }))
    expect(drafts.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 5 }, () => 'intended'))
    expect(drafts[3]?.detail).toMatchObject({ recipients: ['age1abc'] })
    await content.close()
  })

  it('waits with the outcome for the last reader of its minute; who comes later is another story', async () => {
    const { drafts, custody } = recorded()
    const content = new ContentCustody({ custody, logger: silentLogger, windowMs: 30 })
    const first = intent(range(0, 100))
    await content.begin(first)
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(drafts).toHaveLength(1)
    const second = intent(range(100, 200))
    await content.begin(second)
    expect(drafts.map(({ outcome }) => outcome)).toEqual(['intended', 'intended'])
    await content.end({ intent: first, result: 'sent', sentBytes: 100 })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(drafts[2]).toMatchObject({ outcome: 'done', detail: { intent: 1, sentBytes: 100 } })
    await content.end({ intent: second, result: 'failed', sentBytes: 7, error: 'EIO' })
    await content.close()
    expect(drafts[3]).toMatchObject({ outcome: 'failed', detail: { intent: 2, ranges: ['100-106'], error: 'EIO' } })
  })

  it('says of a reader that the agent left behind that nobody knows how it ended', async () => {
    const { drafts, custody } = recorded()
    const content = new ContentCustody({ custody, logger: silentLogger })
    await content.begin(intent())
    await content.close()
    expect(drafts[1]).toMatchObject({ outcome: 'unknown', detail: { result: 'agent-ended' } })
  })

  it('gives nothing to anybody while the log cannot be written, and asks again each time', async () => {
    const { custody } = recorded(true)
    const content = new ContentCustody({ custody, logger: silentLogger })
    await expect(content.begin(intent())).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    await expect(content.begin(intent())).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    await content.close()
  })
})
