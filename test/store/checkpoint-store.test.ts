import Sqlite from 'better-sqlite3'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { checkpointId } from '../../src/checkpoint/checkpoint-id.ts'
import { NotFoundError } from '../../src/shared/errors.ts'
import type { CheckpointFilter } from '../../src/store/checkpoint-query.ts'
import { CheckpointStore } from '../../src/store/checkpoint-store.ts'
import { migrate } from '../../src/store/migrations.ts'
import { sampleCheckpoint } from '../support/sample-checkpoints.ts'

let database: Sqlite.Database
let store: CheckpointStore

beforeEach(() => {
  database = new Sqlite(':memory:')
  migrate(database)
  store = new CheckpointStore(database)
})

const { sha256: _digest, ...undigested } = sampleCheckpoint(1)
const NOT_UTF8 = Buffer.from('\xff\x1b.tar', 'latin1')

describe('CheckpointStore', () => {
  it.each<{ name: string; checkpoint: Checkpoint }>([
    {
      name: 'all that can be known',
      checkpoint: sampleCheckpoint(1, { reason: 'incident 7', pin: { by: 'operator', reason: 'evidence' } }),
    },
    {
      name: 'one of which next to nothing is known',
      checkpoint: {
        ...undigested,
        state: 'damaged',
        problems: [{ code: 'NotReadable', weight: 'damage', detail: 'the file cannot be read (EACCES)' }],
        identity: { source: 'unknown', isTrusted: false },
        engine: 'unknown',
        summary: { kind: 'unknown', compression: 'none' },
      },
    },
    {
      name: 'a name that is no text',
      checkpoint: sampleCheckpoint(1, {
        id: checkpointId(NOT_UTF8),
        rawName: NOT_UTF8,
        fileName: String.raw`\xff\x1b.tar`,
      }),
    },
    {
      name: 'numbers beyond 2^53',
      checkpoint: sampleCheckpoint(1, { generation: '18446744073709551615:9007199254740993:1795190400123456789' }),
    },
    { name: 'the smallest id', checkpoint: sampleCheckpoint(1, { id: '0000000000000000' }) },
    { name: 'the largest id', checkpoint: sampleCheckpoint(1, { id: 'ffffffffffffffff' }) },
    { name: 'an empty file', checkpoint: sampleCheckpoint(1, { sizeBytes: 0, state: 'incomplete' }) },
  ])('gives back $name', ({ checkpoint }) => {
    store.saveAll([checkpoint])
    expect(store.get(checkpoint.id)).toStrictEqual(checkpoint)
    expect(listAll()).toStrictEqual([checkpoint])
  })

  it('forgets the names that no row has any more, and no other', () => {
    const shared = { namespace: 'shop', container: 'counter', source: 'archive', isTrusted: true } as const
    const [web, database0, late] = ['web-0', 'database-0', 'late-0'].map((pod, at) =>
      sampleCheckpoint(at, { identity: { ...shared, pod, podUid: `uid of ${pod}` } }),
    ) as [Checkpoint, Checkpoint, Checkpoint]
    store.saveAll([web, database0])
    store.removeAll([database0])
    // A few at a time, and from the beginning again.
    for (let turn = 0; turn < 6; turn += 1) store.forgetUnusedNames(2)
    expect(listNames()).toEqual(['counter', 'shop', 'uid of web-0', 'web-0'])
    // Their numbers may be given away again.
    store.saveAll([late])
    expect(listAll({ pod: 'late-0' })).toEqual([late])
    expect(listAll({ pod: 'web-0' })).toEqual([web])
    expect(listAll({ pod: 'database-0' })).toEqual([])
    expect(listAll({ namespace: 'shop' })).toHaveLength(2)
  })

  it('replaces what it has of a file', () => {
    const before = sampleCheckpoint(1, { pin: { by: 'manual' } })
    const after = { ...undigested, generation: '2:0:0', state: 'incomplete' as const, sizeBytes: 0 }
    store.saveAll([before, sampleCheckpoint(2)])
    store.saveAll([after])
    expect(store.get(before.id)).toStrictEqual(after)
    expect(listAll()).toHaveLength(2)
  })

  it('saves all of a batch or nothing', () => {
    const wrong = sampleCheckpoint(2, { id: 'not an id' })
    expect(() => {
      store.saveAll([sampleCheckpoint(1), wrong])
    }).toThrow('Cannot save checkpoint "not an id": its id is not 16 hex digits')
    expect(listAll()).toEqual([])
  })

  it.each(['', 'nothing', '0123456789ABCDEF', '0123456789abcdef'])('finds nothing under "%s"', (id) => {
    store.saveAll([sampleCheckpoint(1)])
    expect(store.find(id)).toBeUndefined()
    expect(() => store.get(id)).toThrow(NotFoundError)
    expect(store.setHash(id, undigested.generation, 'f')).toBe(false)
    expect(store.setState(id, undigested.generation, 'ready')).toBe(false)
    expect(store.removeAll([{ id, generation: undigested.generation }])).toEqual([])
    expect(listAll()).toHaveLength(1)
  })

  it('tells a digest and the state that comes with it', () => {
    store.saveAll([{ ...undigested, state: 'hashing' }])
    expect(store.setHash(undigested.id, undigested.generation, 'f00d')).toBe(true)
    expect(store.get(undigested.id)).toMatchObject({ state: 'ready', sha256: 'f00d' })
  })

  it('refuses the digest of another generation, and of a file that is not being hashed', () => {
    store.saveAll([{ ...undigested, state: 'hashing' }])
    expect(store.setHash(undigested.id, '1:2:3', 'f00d')).toBe(false)
    store.saveAll([{ ...undigested, state: 'incomplete' }])
    expect(store.setHash(undigested.id, undigested.generation, 'f00d')).toBe(false)
    expect(store.get(undigested.id)).toStrictEqual({ ...undigested, state: 'incomplete' })
  })

  it('changes the state of one generation only', () => {
    store.saveAll([undigested])
    expect(store.setState(undigested.id, '1:2:3', 'damaged')).toBe(false)
    expect(store.setState(undigested.id, undigested.generation, 'hashing')).toBe(true)
    expect(store.get(undigested.id).state).toBe('hashing')
  })

  it('forgets, and forgets again', () => {
    const [first, second] = [sampleCheckpoint(1), sampleCheckpoint(2)]
    store.saveAll([first, second])
    expect(store.removeAll([first])).toStrictEqual([first])
    expect(store.removeAll([first])).toStrictEqual([])
    expect(listAll()).toStrictEqual([second])
  })

  it('forgets the file that is meant, and none that has taken its name', () => {
    const file = sampleCheckpoint(1)
    store.saveAll([file])
    expect(store.removeAll([{ ...file, generation: '1:2:3' }])).toStrictEqual([])
    expect(listAll()).toStrictEqual([file])
  })

  it('tells what a rescan compares', () => {
    const pinned = sampleCheckpoint(2, { state: 'hashing', pin: { by: 'us' } })
    const note = { code: 'ForeignOwner', weight: 'note', detail: 'the file belongs to user 7' } as const
    const noted = sampleCheckpoint(3, { problems: [note] })
    const unbelieved = sampleCheckpoint(4, { identity: { source: 'archive', isTrusted: false } })
    store.saveAll([undigested, pinned, noted, unbelieved])
    const known = store.listKnown({ after: undefined, limit: 10 })
    expect(new Map(known.map(({ id, ...row }) => [id, row]))).toEqual(
      new Map([
        [undigested.id, { generation: undigested.generation, state: 'ready', isPinned: false, isDoubtful: false }],
        [pinned.id, { generation: pinned.generation, state: 'hashing', isPinned: true, isDoubtful: false }],
        [noted.id, { generation: noted.generation, state: 'ready', isPinned: false, isDoubtful: true }],
        [unbelieved.id, { generation: unbelieved.generation, state: 'ready', isPinned: false, isDoubtful: true }],
      ]),
    )
  })

  it('tells it in pages that together hold each row once', () => {
    // The ids at both ends of the order in which they are kept.
    const ends = ['8000000000000000', 'ffffffffffffffff', '0000000000000000', '7fffffffffffffff']
    const ids = [...Array.from({ length: 20 }, (_, index) => sampleCheckpoint(index).id), ...ends]
    store.saveAll(ids.map((id, index) => ({ ...sampleCheckpoint(index), id })))
    for (const limit of [1, 7, 24, 25]) {
      const told: string[] = []
      let page = store.listKnown({ after: undefined, limit })
      while (page.length > 0) {
        told.push(...page.map(({ id }) => id))
        page = store.listKnown({ after: told.at(-1), limit })
      }
      expect(told.toSorted()).toEqual(ids.toSorted())
    }
  })

  it('counts by state and adds up the bytes, after every kind of change', () => {
    const totals = () => ({ states: store.countByState(), bytes: store.totalBytes() })
    expect(totals()).toEqual({ states: {}, bytes: 0 })
    const [first, second] = [1, 2].map((index) => sampleCheckpoint(index, { sizeBytes: 2 ** 40, state: 'hashing' }))
    if (first === undefined || second === undefined) throw new Error('two were made')
    store.saveAll([first, second])
    expect(totals()).toEqual({ states: { hashing: 2 }, bytes: 2 ** 41 })
    store.setHash(first.id, first.generation, 'f00d')
    expect(totals()).toEqual({ states: { hashing: 1, ready: 1 }, bytes: 2 ** 41 })
    store.setState(second.id, second.generation, 'damaged')
    expect(totals()).toEqual({ states: { damaged: 1, ready: 1 }, bytes: 2 ** 41 })
    store.removeAll([first])
    expect(totals()).toEqual({ states: { damaged: 1 }, bytes: 2 ** 40 })
  })

  it('says it when a row has a code that this agent does not know', () => {
    store.saveAll([undigested])
    database.exec('UPDATE checkpoints SET engine = 99')
    expect(() => store.get(undigested.id)).toThrow('Cannot read a checkpoint: its row has the unknown code 99')
  })
})

function listNames(): unknown[] {
  return database.prepare('SELECT name FROM names ORDER BY name').pluck().all()
}

function listAll(filter: CheckpointFilter = {}): readonly Checkpoint[] {
  return store.list({ filter, order: { key: 'takenAt', isDescending: false }, limit: 1000 }).items
}
