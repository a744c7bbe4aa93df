import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Admission } from '../../../src/agent/admission/admission.ts'
import { lookAtArchive } from '../../../src/agent/inventory/single-look.ts'
import {
  CheckpointActions,
  type ActionEntry,
  type CheckpointActionsOptions,
} from '../../../src/agent/actions/checkpoint-actions.ts'
import type { ArchiveReader, SummaryOutcome } from '../../../src/agent/inspection/archive-reader.ts'
import { readPin } from '../../../src/agent/directory/pins.ts'
import type { Checkpoint } from '../../../src/checkpoint/checkpoint.ts'
import { systemClock } from '../../../src/shared/clock.ts'
import { CallerLeftError } from '../../../src/shared/errors.ts'
import { silentLogger } from '../../../src/shared/logger.ts'
import { writeArchive } from '../../support/archive-builder.ts'
import { inProcessReader } from '../../support/in-process-reader.ts'

/** Of a caller who does not leave. */
const PRESENT = new AbortController().signal
const LIMITS = { concurrency: 2, perUser: 1 }
const ACTOR = { user: 'ada', groups: ['responders'], requestId: 'r-1' }
const NAME = 'checkpoint-web-0_shop-counter-2026-01-31T12:00:00Z.tar'

let directory: string
let path: string
let marker: string
let entries: ActionEntry[]
let recordFails: boolean
let isInUse: boolean
let recordedSha256: string | undefined
let actions: CheckpointActions
let admission: Admission
/** What the reader answers instead of reading. */
let summary: SummaryOutcome | undefined
let reader: ArchiveReader

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'checkpoint-actions-'))
  path = join(directory, NAME)
  marker = `${path}.keep`
  writeArchive(path, { namespace: 'shop', pod: 'web-0', container: 'counter' })
  entries = []
  recordFails = false
  isInUse = false
  recordedSha256 = undefined
  admission = new Admission({ content: LIMITS, inspection: LIMITS, times: { maxWaitMs: 300 } })
  summary = undefined
  const inProcess = inProcessReader(directory)
  reader = { ...inProcess, summarize: async (...order) => summary ?? (await inProcess.summarize(...order)) }
  actions = new CheckpointActions(actionOptions())
})

function actionOptions(): CheckpointActionsOptions {
  return {
    directory,
    reader,
    clock: systemClock,
    logger: silentLogger,
    inspections: admission.inspections,
    record: (entry) => {
      if (recordFails) return Promise.reject(new Error('the custody log is full'))
      entries.push(entry)
      return Promise.resolve()
    },
    findRecordedSha256: () => recordedSha256,
    isInUse: () => isInUse,
    hold: () => () => undefined,
    refresh: () => look(),
  }
}

afterEach(async () => {
  await actions.close()
  rmSync(directory, { recursive: true })
})

async function look(): Promise<Checkpoint | undefined> {
  const options = { directory, permissions: 'report', reader, now: new Date() } as const
  const found = await lookAtArchive(Buffer.from(NAME), options)
  const pin = readPin(Buffer.from(path))
  return found && { ...found.checkpoint, ...(pin !== undefined && { pin }) }
}

async function there(): Promise<Checkpoint> {
  const found = await look()
  if (found === undefined) throw new Error('the archive is gone')
  return found
}

const digestOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')
const recorded = () => entries.map(({ action, outcome }) => `${action} ${outcome}`)

/** As old as nobody writes to it any more. */
function ageFile(): void {
  const before = new Date(Date.now() - 3_600_000)
  utimesSync(path, before, before)
}

describe('pinning', () => {
  it('writes a marker for root only, and records who did it', async () => {
    const pinned = await actions.pin(await there(), { actor: ACTOR, reason: 'incident 7' })
    expect(pinned.pin).toEqual({ by: 'us', reason: 'incident 7' })
    expect(statSync(marker).mode & 0o777).toBe(0o600)
    expect(JSON.parse(readFileSync(marker, 'utf8'))).toMatchObject({ user: 'ada', reason: 'incident 7' })
    expect(recorded()).toEqual(['pin done'])
    expect(entries[0]).toMatchObject({ actor: ACTOR, detail: { reason: 'incident 7' } })
  })

  it('changes the reason of its own pin', async () => {
    await actions.pin(await there(), { actor: ACTOR, reason: 'first' })
    expect((await actions.pin(await there(), { actor: ACTOR, reason: 'second' })).pin?.reason).toBe('second')
  })

  it('is done in turn where many ask for it at once, and the last one counts', async () => {
    const checkpoint = await there()
    const asked = Array.from({ length: 20 }, (_, number) =>
      number % 5 === 4
        ? actions.unpin(checkpoint, { actor: ACTOR })
        : actions.pin(checkpoint, { actor: ACTOR, reason: `number ${String(number)}` }),
    )
    const last = actions.pin(checkpoint, { actor: ACTOR, reason: 'the last' })
    await Promise.all(asked)
    expect((await last).pin).toEqual({ by: 'us', reason: 'the last' })
    expect(recorded()).toHaveLength(21)
  })

  it('keeps the reason of its own pin, and its marker, where no other is given', async () => {
    await actions.pin(await there(), { actor: ACTOR, reason: 'incident 7' })
    const before = readFileSync(marker, 'utf8')
    const again = await actions.pin(await there(), { actor: { user: 'bob', groups: [] } })
    expect(again.pin).toEqual({ by: 'us', reason: 'incident 7' })
    expect(readFileSync(marker, 'utf8')).toBe(before)
    expect(entries[1]).toMatchObject({ actor: { user: 'bob' }, action: 'pin', detail: { reason: 'incident 7' } })
  })

  it('records why each was done', async () => {
    const order = { actor: ACTOR, reason: 'case closed' }
    await actions.pin(await there(), { actor: ACTOR, reason: 'incident 7' })
    await actions.verify(await there(), { ...order, signal: PRESENT })
    await actions.unpin(await there(), order)
    ageFile()
    await actions.remove(await there(), order)
    expect(entries.map(({ action, outcome, detail }) => [action, outcome, detail?.['reason']])).toEqual([
      ['pin', 'done', 'incident 7'],
      ['verify', 'done', 'case closed'],
      ['unpin', 'done', 'case closed'],
      ['delete', 'intended', 'case closed'],
      ['delete', 'done', 'case closed'],
    ])
    expect(entries[2]?.detail).toMatchObject({ by: 'us', pinReason: 'incident 7' })
  })

  it('leaves the marker of a person as it is', async () => {
    writeFileSync(marker, 'please keep. Bob')
    expect((await actions.pin(await there(), { actor: ACTOR, reason: 'mine' })).pin).toEqual({ by: 'manual' })
    expect(readFileSync(marker, 'utf8')).toBe('please keep. Bob')
  })

  it.each(['pin', 'unpin'] as const)('never touches a marker that the operator manages: %s', async (action) => {
    const managed = '{"owners":[{"kind":"CheckpointSchedule","name":"nightly"}]}'
    writeFileSync(marker, managed)
    await expect(actions[action](await there(), { actor: ACTOR })).rejects.toMatchObject({ code: 'PinManaged' })
    expect(readFileSync(marker, 'utf8')).toBe(managed)
    expect(entries).toEqual([])
  })

  it('does not follow a link in the place of its draft', async () => {
    const other = join(directory, 'other')
    writeFileSync(other, 'precious')
    symlinkSync(other, `${marker}.tmp`)
    await expect(actions.pin(await there(), { actor: ACTOR })).rejects.toMatchObject({ code: 'ELOOP' })
    expect(readFileSync(other, 'utf8')).toBe('precious')
  })

  it('does nothing that cannot be recorded', async () => {
    recordFails = true
    await expect(actions.pin(await there(), { actor: ACTOR })).rejects.toThrow('custody log')
    expect(existsSync(marker)).toBe(false)
  })

  it('is refused for a file that is another one by now', async () => {
    const before = await there()
    writeArchive(path, { namespace: 'shop', pod: 'web-0', container: 'other' })
    await expect(actions.pin(before, { actor: ACTOR })).rejects.toMatchObject({ code: 'CheckpointChanged' })
    expect(existsSync(marker)).toBe(false)
  })
})

describe('unpinning', () => {
  it.each([
    { whose: 'its own', write: (file: string) => writeFileSync(file, '{"pinnedBy":"checkpoint-agent"}') },
    { whose: 'that of a person', write: (file: string) => writeFileSync(file, 'keep') },
    { whose: 'an empty one', write: (file: string) => writeFileSync(file, '') },
  ])('removes $whose', async ({ write }) => {
    write(marker)
    expect((await actions.unpin(await there(), { actor: ACTOR })).pin).toBeUndefined()
    expect(existsSync(marker)).toBe(false)
    expect(recorded()).toEqual(['unpin done'])
  })

  it('of what is not pinned changes nothing, and is no entry', async () => {
    const before = await there()
    expect(await actions.unpin(before, { actor: ACTOR })).toEqual(before)
    expect(entries).toEqual([])
  })

  it.each([
    { what: 'a folder', make: (file: string) => mkdirSync(file) },
    { what: 'a link', make: (file: string) => symlinkSync('/etc/passwd', file) },
    { what: 'too large a file', make: (file: string) => writeFileSync(file, 'x'.repeat(70_000)) },
  ])('leaves a marker that is $what', async ({ make }) => {
    make(marker)
    await expect(actions.unpin(await there(), { actor: ACTOR })).rejects.toMatchObject({ code: 'PinNotRecognized' })
    expect(lstatSync(marker, { throwIfNoEntry: false })).toBeDefined()
  })
})

describe('removing', () => {
  it('records the intent before, and the outcome after', async () => {
    await actions.remove(await there(), { actor: ACTOR })
    expect(existsSync(path)).toBe(false)
    expect(recorded()).toEqual(['delete intended', 'delete done'])
  })

  it('is refused for what is pinned, and says why', async () => {
    await actions.pin(await there(), { actor: ACTOR, reason: 'incident 7' })
    await expect(actions.remove(await there(), { actor: ACTOR })).rejects.toMatchObject({
      code: 'Pinned',
      message: expect.stringContaining('incident 7') as string,
    })
    expect(existsSync(path)).toBe(true)
  })

  it('is refused for what is being read', async () => {
    isInUse = true
    await expect(actions.remove(await there(), { actor: ACTOR })).rejects.toMatchObject({ code: 'InUse' })
    expect(existsSync(path)).toBe(true)
    expect(entries).toEqual([])
  })

  it('is refused for what is being written, until it has been left alone', async () => {
    writeFileSync(path, readFileSync(path).subarray(0, 4096))
    await expect(actions.remove(await there(), { actor: ACTOR })).rejects.toMatchObject({ code: 'BeingWritten' })
    ageFile()
    await actions.remove(await there(), { actor: ACTOR })
    expect(existsSync(path)).toBe(false)
  })

  it('does nothing that cannot be recorded', async () => {
    recordFails = true
    await expect(actions.remove(await there(), { actor: ACTOR })).rejects.toThrow('custody log')
    expect(existsSync(path)).toBe(true)
  })

  it('leaves a file that took its place after the intent', async () => {
    const checkpoint = await there()
    const other = join(directory, 'other')
    writeArchive(other, { namespace: 'shop', pod: 'web-0', container: 'counter' })
    const replacing = new CheckpointActions({
      directory,
      reader,
      clock: systemClock,
      logger: silentLogger,
      inspections: admission.inspections,
      record: (entry) => {
        entries.push(entry)
        if (entry.outcome === 'intended') renameSync(other, path)
        return Promise.resolve()
      },
      findRecordedSha256: () => undefined,
      isInUse: () => false,
      hold: () => () => undefined,
      refresh: look,
    })
    await expect(replacing.remove(checkpoint, { actor: ACTOR })).rejects.toMatchObject({ code: 'CheckpointChanged' })
    expect(existsSync(path)).toBe(true)
    expect(recorded()).toEqual(['delete intended', 'delete failed'])
    await replacing.close()
  })

  it('is done with the file, whatever the log does after', async () => {
    const checkpoint = await there()
    const forgetful = new CheckpointActions({
      directory,
      reader,
      clock: systemClock,
      logger: silentLogger,
      inspections: admission.inspections,
      record: ({ outcome }) => (outcome === 'done' ? Promise.reject(new Error('full')) : Promise.resolve()),
      findRecordedSha256: () => undefined,
      isInUse: () => false,
      hold: () => () => undefined,
      refresh: look,
    })
    await forgetful.remove(checkpoint, { actor: ACTOR })
    expect(existsSync(path)).toBe(false)
    await forgetful.close()
  })
})

describe('verifying', () => {
  it('finds an archive as it was recorded', async () => {
    const sha256 = digestOf(path)
    recordedSha256 = sha256
    const found = await actions.verify({ ...(await there()), sha256 }, { actor: ACTOR, signal: PRESENT })
    expect(found).toMatchObject({
      sha256,
      index: 'same',
      custody: 'same',
      isIntact: true,
      sizeBytes: statSync(path).size,
    })
    expect(recorded()).toEqual(['verify done'])
  })

  it('finds other bytes of the same size and time', async () => {
    ageFile()
    const sha256 = digestOf(path)
    const before = { ...(await there()), sha256 }
    const { mtime } = statSync(path)
    const bytes = readFileSync(path)
    bytes.writeUInt8(bytes.readUInt8(1000) ^ 1, 1000)
    writeFileSync(path, bytes)
    utimesSync(path, mtime, mtime)
    const found = await actions.verify(before, { actor: ACTOR, signal: PRESENT })
    expect(found).toMatchObject({ sha256: digestOf(path), index: 'different', isIntact: false })
    expect(recorded()).toEqual(['tampering done', 'verify done'])
  })

  it('says that nothing was recorded yet', async () => {
    const found = await actions.verify(await there(), { actor: ACTOR, signal: PRESENT })
    expect(found).toMatchObject({ index: undefined, custody: undefined, isIntact: true })
  })

  it('vouches for what is too expensive to read by its bytes alone', async () => {
    summary = {
      kind: 'too-expensive',
      problem: { code: 'TooExpensive', weight: 'note', detail: 'to look into it takes too much' },
    }
    const sha256 = digestOf(path)
    const checkpoint = await there()
    expect(checkpoint).toMatchObject({ problems: [{ code: 'TooExpensive' }] })
    const verify = async (changes: Partial<Checkpoint>) =>
      await actions.verify({ ...checkpoint, ...changes }, { actor: ACTOR, signal: PRESENT })
    expect(await verify({ sha256 })).toMatchObject({ isIntact: true, problems: [{ code: 'TooExpensive' }] })
    expect(await verify({ sha256: 'a'.repeat(64) })).toMatchObject({ isIntact: false })
    // Nothing is known of it at all.
    expect(await verify({})).toMatchObject({ isIntact: false, index: undefined, custody: undefined })
  })

  it('finds what is cut off', async () => {
    writeFileSync(path, readFileSync(path).subarray(0, 4096))
    expect(await actions.verify(await there(), { actor: ACTOR, signal: PRESENT })).toMatchObject({ isIntact: false })
  })

  it('reads an archive once for all who ask at the same time, and has an entry for each of them', async () => {
    const checkpoint = await there()
    // All places but one are taken: whoever joins needs none.
    await admission.inspections.enter('somebody else', PRESENT)
    let held = 0
    const counting = new CheckpointActions({
      ...actionOptions(),
      hold: () => {
        held += 1
        return () => undefined
      },
    })
    const users = ['ada', 'ada', 'bob', 'eve']
    const answers = users.map((user) => counting.verify(checkpoint, { actor: { user, groups: [] }, signal: PRESENT }))
    const found = await Promise.all(answers)
    expect(new Set(found.map(({ sha256 }) => sha256))).toEqual(new Set([digestOf(path)]))
    expect(held).toBe(1)
    expect(entries.map(({ action, actor }) => `${action} by ${actor.user}`).toSorted()).toEqual(
      users.map((user) => `verify by ${user}`),
    )
    expect(admission.inspections.takenCount).toBe(1)
    await counting.close()
  })

  it('ends when the last of its callers has left, without an entry, and gives the place back', async () => {
    truncateSync(path, 64 * 1024 ** 3)
    const checkpoint = await there()
    const callers = Array.from({ length: 3 }, () => new AbortController())
    const answers = callers.map(({ signal }) => actions.verify(checkpoint, { actor: ACTOR, signal }))
    const settled = Promise.allSettled(answers)
    await expect.poll(() => admission.inspections.takenCount).toBe(1)
    callers[0]?.abort()
    callers[1]?.abort()
    await expect(answers[0]).rejects.toBeInstanceOf(CallerLeftError)
    expect(admission.inspections.takenCount).toBe(1)
    callers[2]?.abort()
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    // Its bytes would take a minute.
    await expect.poll(() => admission.inspections.takenCount, { timeout: 20_000 }).toBe(0)
    expect(recorded()).toEqual([])
    truncateSync(path, 4096)
    expect(await actions.verify(await there(), { actor: ACTOR, signal: PRESENT })).toMatchObject({ isIntact: false })
  }, 30_000)

  it('gives back the place of a caller who left as it got it', async () => {
    for (let round = 0; round < 20; round += 1) {
      const caller = new AbortController()
      const answer = actions.verify(await there(), { actor: ACTOR, signal: caller.signal })
      for (let turn = 0; turn < round % 5; turn += 1) await Promise.resolve()
      caller.abort()
      await expect(answer).rejects.toBeInstanceOf(CallerLeftError)
    }
    await expect.poll(() => admission.inspections.takenCount).toBe(0)
    expect(admission.inspections.waitingCount).toBe(0)
  })

  it('is refused where its user has one going on, or all places are taken', async () => {
    const place = await admission.inspections.enter(ACTOR.user, PRESENT)
    await expect(actions.verify(await there(), { actor: ACTOR, signal: PRESENT })).rejects.toMatchObject({
      code: 'TooManyInspections',
      hint: expect.stringContaining('inspection.perUser') as string,
    })
    place.leave()
    expect(await actions.verify(await there(), { actor: ACTOR, signal: PRESENT })).toMatchObject({ isIntact: true })
  })

  it('is refused for what is gone', async () => {
    const checkpoint = await there()
    rmSync(path)
    await expect(actions.verify(checkpoint, { actor: ACTOR, signal: PRESENT })).rejects.toMatchObject({
      code: 'CheckpointChanged',
    })
  })
})
