import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AGENT_ACTOR, CHAIN_BEGIN, readLine, sealEntry, type CustodyDraft } from '../../src/custody/custody-entry.ts'
import {
  boundDraft,
  MAX_ACTOR_BYTES,
  MAX_AGENT_LINE_BYTES,
  MAX_CALLER_LINE_BYTES,
} from '../../src/custody/draft-bounds.ts'
import { draft } from './custody-fixture.ts'

const PLACE = { after: { ...CHAIN_BEGIN, seq: 2 ** 52 }, time: new Date(0), node: 'n'.repeat(253) }

function lineOf(given: CustodyDraft): string {
  return sealEntry(boundDraft(given, PLACE.node), PLACE).line
}

/** Texts as hostile as they come: control characters, halves of pairs, quotes, and much of them. */
const text = fc
  .array(
    fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\ud800', '\udfff', '\u0000', '"', '\\', '😀', '\u2028')),
  )
  .chain((parts) => fc.integer({ min: 1, max: 300 }).map((times) => parts.join('').repeat(times)))
const actors = fc.record(
  {
    user: text,
    groups: fc.array(text, { maxLength: 60 }),
    address: text,
    requestId: text,
  },
  { requiredKeys: ['user', 'groups'] },
)

describe('boundDraft', () => {
  it('leaves what fits as it is', () => {
    const given = draft(1, { detail: { a: [1, true, null, 'x'], b: { c: '…' } } })
    expect(boundDraft(given, 'node-a')).toEqual(given)
  })

  it('fits a user with 2,000 groups of long names into an entry, with their number and a digest that can be made again', () => {
    const groups = Array.from({ length: 2_000 }, (_, index) => `oidc:team-${index}-${'x'.repeat(200)}`)
    const line = lineOf(draft(1, { actor: { user: 'alice', groups } }))
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_CALLER_LINE_BYTES)
    const { entry } = readLine(Buffer.from(line.trimEnd())) as { readonly entry: CustodyDraft }
    expect(Buffer.byteLength(JSON.stringify(entry.actor))).toBeLessThanOrEqual(MAX_ACTOR_BYTES)
    expect(entry.actor).toMatchObject({
      user: 'alice',
      groupCount: 2_000,
      groupsSha256: createHash('sha256')
        .update(groups.map((group) => `${group}\0`).join(''))
        .digest('hex'),
    })
    expect(entry.actor.groups.length).toBeGreaterThan(2)
    expect(entry.detail).toEqual({ number: 1 })
  })

  it('keeps the first 16 of many short groups', () => {
    const groups = Array.from({ length: 40 }, (_, index) => `g${index}`)
    const bounded = boundDraft(draft(1, { actor: { user: 'alice', groups } }), 'node-a')
    expect(bounded.actor).toMatchObject({ groups: groups.slice(0, 16), groupCount: 40 })
    expect(boundDraft(bounded, 'node-a')).toEqual(bounded)
  })

  it('holds its sizes and makes lines that read back, whatever callers are called and say', () => {
    fc.assert(
      fc.property(
        actors,
        text,
        fc.anything({ withBigInt: true, withDate: true, withMap: true }),
        (who, name, detail) => {
          const checkpoint = { id: name, fileName: name, sizeBytes: Number.NaN, sha256: name }
          const given = draft(1, { actor: who, checkpoint, detail: { name, detail } })
          const line = lineOf(given)
          expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_CALLER_LINE_BYTES)
          const reading = readLine(Buffer.from(line.trimEnd()))
          expect(reading).toMatchObject({ isGood: true, entry: { action: 'content', outcome: 'intended' } })
          if (!reading.isGood) return
          expect(Buffer.byteLength(JSON.stringify(reading.entry.actor))).toBeLessThanOrEqual(MAX_ACTOR_BYTES)
          // What JSON tools write differently is in no line.
          expect(line.trimEnd()).not.toMatch(/[\p{Cc}\p{Cs}]/u)
          expect(line.trimEnd()).toMatch(/^(?:[^\\]|\\["\\])*$/)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('cuts the large parts of a detail, says so, and leaves the small ones whole', () => {
    const identity = { namespace: 'n'.repeat(63), pod: 'p'.repeat(253), containerId: 'a'.repeat(64) }
    const podLabels = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`label-${index}`, 'v'.repeat(63)]))
    const { detail } = boundDraft(
      draft(1, { detail: { identity, inode: 7, podLabels, reason: 'r'.repeat(1_024) } }),
      'n',
    )
    expect(detail).toMatchObject({ identity, inode: 7, shortenedFromBytes: expect.any(Number) as number })
    expect(detail?.['reason']).toBe('r'.repeat(1_024))
    expect(Object.keys(detail?.['podLabels'] ?? {}).length).toBeGreaterThan(3)
  })

  it('never cuts what says whose an archive is, however little room the caller leaves', () => {
    const groups = Array.from({ length: 50 }, (_, index) => `oidc:group-of-people-${index}`.repeat(3))
    const actor = { user: 'u'.repeat(250), groups, address: 'a'.repeat(64), requestId: 'r'.repeat(100) }
    const identity = {
      namespace: 'n'.repeat(63),
      pod: 'p'.repeat(253),
      podUid: 'u'.repeat(36),
      container: 'c'.repeat(63),
      containerId: 'a'.repeat(64),
    }
    const detail = {
      job: '01J'.repeat(9),
      identity,
      reason: 'r'.repeat(1_024),
      inode: 2 ** 52,
      takenAt: '2026-01-31T12:00:00.249Z',
      image: 'i'.repeat(255),
      imageReference: 'sha256:'.repeat(20),
      podLabels: Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`label-${index}`, 'v'.repeat(63)])),
      place: { kernel: 'k'.repeat(64), architecture: 'x64', cpuModel: 'c'.repeat(48) },
    }
    const checkpoint = { id: '9f2c4e5a7b1d3c60', fileName: 'f'.repeat(255), sizeBytes: 2 ** 40 }
    const bounded = boundDraft(draft(1, { actor, checkpoint, detail }), PLACE.node)
    expect(Object.keys(bounded.detail ?? {})).toEqual([...Object.keys(detail), 'shortenedFromBytes'])
    const { job, inode, takenAt, place } = detail
    expect(bounded.detail).toMatchObject({ identity, job, inode, takenAt, place })
    expect(Buffer.byteLength(lineOf(draft(1, { actor, checkpoint, detail })))).toBeLessThanOrEqual(
      MAX_CALLER_LINE_BYTES,
    )
  })

  it('gives the entries of the agent more room, and not those of a caller who has its name', () => {
    const detail = { text: 'x'.repeat(1_000_000) }
    const ours = lineOf(draft(1, { actor: AGENT_ACTOR, detail }))
    expect(Buffer.byteLength(ours)).toBeGreaterThan(MAX_AGENT_LINE_BYTES * 0.9)
    expect(Buffer.byteLength(ours)).toBeLessThanOrEqual(MAX_AGENT_LINE_BYTES)
    const theirs = lineOf(draft(1, { actor: { ...AGENT_ACTOR }, detail }))
    expect(Buffer.byteLength(theirs)).toBeLessThanOrEqual(MAX_CALLER_LINE_BYTES)
  })

  it('does bounded work on values of any size and shape', () => {
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    const large = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`k${index}`, index]))
    const begun = performance.now()
    for (const detail of [
      circle,
      large,
      { large },
      { bytes: Buffer.alloc(64 * 1024 ** 2) },
      { text: '\u0000'.repeat(2e6) },
    ]) {
      const { detail: bounded } = boundDraft(draft(1, { detail }), 'node-a')
      expect(bounded).toHaveProperty('shortenedFromBytes')
    }
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  it.each([
    {
      what: 'a getter that throws',
      detail: {
        get broken(): string {
          throw new TypeError('not ready')
        },
      },
    },
    {
      what: 'a toJSON that throws',
      detail: {
        at: new Date(Number.NaN),
        toJSON: () => {
          throw new TypeError('not ready')
        },
      },
    },
  ])('makes an entry of $what that says so', ({ detail }) => {
    const bounded = boundDraft(draft(1, { detail }), 'node-a')
    expect(bounded).toMatchObject({
      actor: { user: 'alice' },
      action: 'content',
      checkpoint: { id: '9f2c4e5a7b1d3c60' },
      detail: { notWritable: 'not ready' },
      outcome: 'intended',
    })
  })

  it('makes an entry even of a draft without its parts', () => {
    const bounded = boundDraft({ action: 'pin', outcome: 'done' } as CustodyDraft, 'node-a')
    expect(bounded).toMatchObject({ actor: { user: 'unknown' }, action: 'pin' })
    expect(bounded.detail).toHaveProperty('notWritable')
  })
})
