import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { silentLogger } from '../../src/shared/logger.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { openDatabase } from '../../src/store/database.ts'
import { GonePodStore } from '../../src/store/gone-pod-store.ts'
import { withRetentionRows, type RetentionMoment } from '../../src/store/retention-rows.ts'
import { sampleCheckpoint } from '../support/sample-checkpoints.ts'

const PLAIN = sampleCheckpoint(1)
const STRANGER = sampleCheckpoint(2, { identity: { source: 'unknown', isTrusted: false }, engine: 'unknown' })
const CLAIMED = sampleCheckpoint(3, {
  identity: { namespace: 'shop', pod: 'web-0', source: 'name', isTrusted: false },
  state: 'damaged',
  problems: [{ code: 'NoMetadata', weight: 'damage', detail: 'it says "isTrusted":true of itself' }],
})
const PINNED = sampleCheckpoint(4, { pin: { by: 'manual' }, sizeBytes: 2 ** 40 })
const HIGHEST = sampleCheckpoint(5, { id: 'ffffffff00000001', state: 'hashing' })
const LOWEST = sampleCheckpoint(6, { id: '0000000000000002', state: 'incomplete' })
const FOREIGN = sampleCheckpoint(7, { fileName: 'checkpoint-ein-Dämon-犬/🐕.tar' })
const LONG = sampleCheckpoint(8, { fileName: `checkpoint-${'é'.repeat(600_000)}.tar` })

const CASES: readonly (readonly [string, Checkpoint])[] = [
  ['a plain one', PLAIN],
  ['one of which nothing is known', STRANGER],
  ['one that claims to be believed', CLAIMED],
  ['a pinned one of a TiB', PINNED],
  ['one with a high id', HIGHEST],
  ['one with a low id', LOWEST],
  ['one with letters of many bytes and a slash in its name', FOREIGN],
  ['one with a name of more than a MiB', LONG],
  ['one after that', sampleCheckpoint(9)],
]

const NOW = 1_790_000_000_000
const AT_REST: RetentionMoment = { nowMillis: NOW, inUse: new Set() }

describe('withRetentionRows', () => {
  const folder = mkdtempSync(join(tmpdir(), 'retention-rows-'))
  const file = join(folder, 'state', 'index.db')
  const database = openDatabase({ file, clock: systemClock, logger: silentLogger })
  const find = (id: string, moment = AT_REST) =>
    withRetentionRows(file, moment, (rows) => {
      const row = rows.find((one) => one.id === id)
      // Texts are read where they are asked for, and nowhere else.
      return row && { row, fileName: row.fileName, generation: row.generation }
    })?.row

  beforeAll(() => {
    new CheckpointStore(database).saveAll(CASES.map(([, checkpoint]) => checkpoint))
  })
  afterAll(() => {
    database.close()
    rmSync(folder, { recursive: true })
  })

  it('reads each row once', () => {
    const ids = withRetentionRows(file, AT_REST, (rows) => rows.map(({ id }) => id))
    expect(ids.toSorted()).toEqual(CASES.map(([, { id }]) => id).toSorted())
  })

  it.each(CASES)('reads %s as it was saved', (_, { id, fileName, generation, state, engine, identity, ...rest }) => {
    const row = find(id)
    expect(row).toMatchObject({ id, fileName, generation, state, engine })
    expect(row).toMatchObject({ sizeBytes: rest.sizeBytes, takenAtMillis: rest.takenAt.millis })
    expect(row).toMatchObject({ isPinned: rest.pin !== undefined, isInUse: false, orphanSinceMillis: undefined })
    const { namespace, pod, container, source, isTrusted } = identity
    expect(row?.identity).toStrictEqual({ namespace, pod, container, source, isTrusted })
  })

  it('knows when the file was written from its generation, to the millisecond', () => {
    expect(find(PLAIN.id)?.modifiedAtMillis).toBe(PLAIN.takenAt.millis)
  })

  it('knows since when a pod has been gone, and of which pods nobody has seen that', () => {
    const there = new Set(CASES.flatMap(([, { id, identity }]) => (id === PLAIN.id ? [] : (identity.podUid ?? []))))
    const gone = new GonePodStore(database)
    expect(gone.addGone(there, { after: 0, count: 100 })).toBeUndefined()
    gone.advance(there, 90_000)
    expect(find(PLAIN.id)?.orphanSinceMillis).toBe(NOW - 90_000)
    expect(find(PINNED.id)?.orphanSinceMillis).toBeUndefined()
    expect(find(STRANGER.id)?.orphanSinceMillis).toBeUndefined()
  })

  it('takes no identity for another', () => {
    const own = join(folder, 'identities', 'index.db')
    const names = [undefined, 'a', 'b', 'c']
    const identities = names.flatMap((namespace) =>
      names.flatMap((pod) =>
        names.flatMap((container) =>
          (['observed', 'archive', 'name', 'unknown'] as const).flatMap((source) =>
            [true, false].map((isTrusted) => ({ namespace, pod, container, source, isTrusted })),
          ),
        ),
      ),
    )
    const checkpoints = [...identities, ...identities].map((identity, at) =>
      sampleCheckpoint(at, { identity: withoutUndefined(identity) }),
    )
    const opened = openDatabase({ file: own, clock: systemClock, logger: silentLogger })
    new CheckpointStore(opened).saveAll(checkpoints)
    opened.close()
    const read = withRetentionRows(own, AT_REST, (rows) => rows.map(({ id, identity }) => [id, identity] as const))
    const expected = checkpoints.map(({ id }, at) => [id, identities[at % identities.length]] as const)
    expect(new Map(read)).toEqual(new Map(expected))
  })

  it('reads no text when the index may be another one by now', () => {
    const [row] = withRetentionRows(file, AT_REST, (rows) => rows)
    expect(() => row?.fileName).toThrow('not open')
  })

  it('takes those that are in use from who asks', () => {
    const moment = { ...AT_REST, inUse: new Set([HIGHEST.id]) }
    expect(find(HIGHEST.id, moment)?.isInUse).toBe(true)
    expect(find(LOWEST.id, moment)?.isInUse).toBe(false)
  })
})

function withoutUndefined<Fields extends object>(
  fields: Fields,
): { [Key in keyof Fields]: Exclude<Fields[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}
