import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { nodeDisk, type CustodyDisk } from '../../src/custody/custody-disk.ts'
import { sealEntry } from '../../src/custody/custody-entry.ts'
import { verifyCustody } from '../../src/custody/custody-verify.ts'
import { reserveBytes } from '../../src/custody/log-room.ts'
import { loadSigningKey } from '../../src/custody/signing-key.ts'
import { recordingLogger } from '../support/test-agent.ts'
import { custodyLog, custodyPlace, draft, writtenLog } from './custody-fixture.ts'
import { custodyEntries, custodyFiles } from '../support/custody-files.ts'

const failure = (code: string) => Object.assign(new Error(`${code}: made to fail`), { code })

/** A disk on which the calls of one kind can be made to fail. */
function faultyDisk() {
  const faults = {
    write: undefined as string | undefined,
    sync: undefined as string | undefined,
    syncs: 0,
  }
  const disk: CustodyDisk = {
    ...nodeDisk,
    create: async (path) => wrap(await nodeDisk.create(path)),
    open: async (path) => wrap(await nodeDisk.open(path)),
  }
  const wrap = (file: Awaited<ReturnType<CustodyDisk['open']>>): typeof file => ({
    ...file,
    async write(bytes, position) {
      if (faults.write === undefined) return file.write(bytes, position)
      await file.write(bytes.subarray(0, Math.floor(bytes.length / 2)), position)
      throw failure(faults.write)
    },
    async sync() {
      faults.syncs += 1
      if (faults.sync !== undefined) throw failure(faults.sync)
      return file.sync()
    },
  })
  return { disk, faults }
}

function failToTakeNote(): never {
  throw new TypeError('is not iterable')
}

describe('CustodyLog', () => {
  it('answers for an entry when its line is in the file, in files that are private', async () => {
    const place = custodyPlace()
    const log = custodyLog(place)
    await log.start()
    const entry = await log.append(draft(1))
    expect(entry).toMatchObject({ seq: 1, node: 'node-a', action: 'content', previous: '0'.repeat(64) })
    expect(custodyEntries(place.folder)).toEqual([entry])
    expect(statSync(place.folder).mode & 0o777).toBe(0o700)
    expect(statSync(join(place.folder, '000001.jsonl')).mode & 0o777).toBe(0o600)
    await log.close()
  })

  it('keeps the order of concurrent callers, who share few fsyncs', async () => {
    const place = custodyPlace()
    const { disk, faults } = faultyDisk()
    const log = custodyLog(place, { disk })
    await log.start()
    const before = faults.syncs
    const numbers = Array.from({ length: 500 }, (_, index) => index)
    const entries = await Promise.all(numbers.map((number) => log.append(draft(number))))
    expect(entries.map(({ seq }) => seq)).toEqual(numbers.map((number) => number + 1))
    expect(custodyEntries(place.folder).map(({ detail }) => detail?.['number'])).toEqual(numbers)
    expect(faults.syncs - before).toBeLessThan(10)
    await log.close()
  })

  it('goes on after a restart, over several files, in one chain', async () => {
    const place = custodyPlace()
    await writtenLog(place, 20, { segmentBytes: 2_000 })
    await writtenLog(place, 20, { segmentBytes: 2_000 })
    const entries = custodyEntries(place.folder)
    expect(custodyFiles(place.folder).length).toBeGreaterThan(3)
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1))
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [], entries: entries.length })
  })

  it('writes a hash that jq, python and sed make again', async () => {
    const place = custodyPlace()
    const log = custodyLog(place)
    await log.start()
    const entry = await log.append(
      draft(1, { detail: { text: 'a\u007f"\\\n\u{202e} é 日本 \ud800 <>', n: 12, yes: true } }),
    )
    await log.close()
    const file = join(place.folder, '000001.jsonl')
    const bySed = `sed 's/,"hash":"[0-9a-f]\\{64\\}"}$/}/' "$0" | tr -d '\\n' | sha256sum | cut -c1-64`
    const byJq = `jq -cj 'del(.hash)' "$0" | sha256sum | cut -c1-64`
    const byPython = `python3 -c '
import hashlib, json, sys
entry = json.loads(open(sys.argv[1], encoding="utf-8").readline())
del entry["hash"]
text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False)
print(hashlib.sha256(text.encode()).hexdigest())' "$0"`
    for (const command of [bySed, byJq, byPython]) {
      const hash = execFileSync('sh', ['-c', command, file], { encoding: 'utf8' }).trim()
      expect({ command, hash }).toEqual({ command, hash: entry.hash })
    }
  })

  it('sets a torn last line aside, says so, and goes on', async () => {
    const place = custodyPlace()
    await writtenLog(place, 3)
    appendFileSync(join(place.folder, '000001.jsonl'), '{"seq":4,"time":"20')
    await writtenLog(place, 1)
    expect(custodyEntries(place.folder).map(({ action }) => action)).toEqual([
      'content',
      'content',
      'content',
      'log.repair',
      'content',
    ])
    expect(custodyEntries(place.folder)[3]?.detail).toMatchObject({ bytes: 19 })
    const aside = readdirSync(place.folder).find((name) => name.includes('.torn-'))
    expect(aside).toMatch(/\.noted$/)
    expect(readFileSync(join(place.folder, aside ?? ''), 'utf8')).toBe('{"seq":4,"time":"20')
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [] })
  })

  it('takes unfinished lines after the head for a crash, whatever is in them', async () => {
    const place = custodyPlace()
    await writtenLog(place, 3)
    appendFileSync(join(place.folder, '000001.jsonl'), `${'\0'.repeat(300)}\n{"seq":5}\n`)
    await writtenLog(place, 1)
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [], entries: 5 })
  })

  it('mends nothing that was on the disk once: a changed line stays, and the chain goes on in another file', async () => {
    const place = custodyPlace()
    await writtenLog(place, 3)
    const file = join(place.folder, '000001.jsonl')
    const changed = readFileSync(file, 'utf8').replace('"number":2', '"number":7')
    writeFileSync(file, changed)
    await writtenLog(place, 1)
    expect(readFileSync(file, 'utf8')).toBe(changed)
    const { problems } = await verifyCustody(place.folder)
    expect(problems).toMatchObject([{ code: 'HashWrong', file: '000001.jsonl', line: 2 }])
    expect(custodyEntries(place.folder).map(({ action }) => action)).toContain('tampering')
  })

  it('finds at its start that its end was cut off, and leaves the gap open', async () => {
    const place = custodyPlace()
    await writtenLog(place, 3)
    const file = join(place.folder, '000001.jsonl')
    truncateSync(file, readFileSync(file).indexOf('\n') + 1)
    const logger = recordingLogger()
    await writtenLog(place, 1, { logger })
    expect(logger.lines.filter(({ level }) => level === 'error')).toMatchObject([{ fields: { problem: 'EndMissing' } }])
    const { problems } = await verifyCustody(place.folder)
    expect(problems).toMatchObject([{ code: 'ChainBroken', file: '000002.jsonl', line: 1 }])
    expect(problems[0]?.detail).toContain('entries 2 to 3 are missing')
  })

  it.each(['EIO', 'ENOSPC'])('refuses on %s, in the write and in the sync, and goes on by itself', async (code) => {
    const place = custodyPlace()
    const { disk, faults } = faultyDisk()
    const log = custodyLog(place, { disk })
    await log.start()
    await log.append(draft(1))
    for (const step of ['write', 'sync'] as const) {
      faults[step] = code
      await expect(log.append(draft(2))).rejects.toMatchObject({ code: 'CustodyUnavailable', hint: expect.any(String) })
      expect(log.state.error).toContain(code)
      faults[step] = undefined
      expect(await log.append(draft(3))).toMatchObject({ action: 'content' })
      expect(log.state.error).toBeUndefined()
    }
    await log.close()
    const actions = custodyEntries(place.folder).map(({ action }) => action)
    expect(actions).toEqual(['content', 'log.resume', 'content', 'log.resume', 'content'])
    expect(custodyEntries(place.folder)[1]?.detail).toMatchObject({ refused: 1 })
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [] })
  })

  it('keeps what has happened already until it can be written, in its time', async () => {
    const place = custodyPlace()
    const { disk, faults } = faultyDisk()
    const log = custodyLog(place, { disk, retryMs: 50 })
    await log.start()
    faults.sync = 'EIO'
    expect(await log.appendOwed(draft(1))).toBeUndefined()
    faults.sync = undefined
    await vi.waitUntil(() => log.state.error === undefined, { timeout: 5_000 })
    expect(
      custodyEntries(place.folder)
        .map(({ action }) => action)
        .toSorted(),
    ).toEqual(['content', 'log.resume'])
    await log.close()
  })

  it('refuses while its folder is gone, and goes on when it is back', async () => {
    const place = custodyPlace()
    const log = custodyLog(place)
    await log.start()
    await log.append(draft(1))
    renameSync(place.folder, `${place.folder}-away`)
    await expect(log.append(draft(2))).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    renameSync(`${place.folder}-away`, place.folder)
    await log.append(draft(3))
    await log.close()
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [], entries: 3 })
  })

  it('sees when somebody changes the file under it', async () => {
    const place = custodyPlace()
    const log = custodyLog(place)
    await log.start()
    await log.append(draft(1))
    await log.append(draft(2))
    const file = join(place.folder, '000001.jsonl')
    truncateSync(file, readFileSync(file).indexOf('\n') + 1)
    await log.append(draft(3))
    await log.close()
    expect(custodyEntries(place.folder).map(({ action }) => action)).toContain('tampering')
    expect(await verifyCustody(place.folder)).toMatchObject({ verdict: 'broken' })
  })

  it('refuses beyond its size what can be refused, and takes the rest', async () => {
    const place = custodyPlace()
    const log = custodyLog(place, { maxBytes: 2_000, segmentBytes: 1_000 })
    await log.start()
    const write = async () => {
      for (let number = 0; number < 20; number += 1) await log.append(draft(number))
    }
    await expect(write()).rejects.toMatchObject({
      code: 'CustodyUnavailable',
      message: expect.stringContaining('full'),
    })
    expect(await log.appendOwed(draft(99))).toMatchObject({ detail: { number: 99 } })
    await log.close()
    rmSync(join(place.folder, '000001.jsonl'))
    const next = custodyLog(place, { maxBytes: 2_000, segmentBytes: 1_000 })
    await next.start()
    await next.append(draft(100))
    await next.close()
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [] })
  })

  it('keeps a reserve that content may not use, and captures and removals may', async () => {
    const place = custodyPlace()
    const log = custodyLog(place, { maxBytes: 20_000 })
    await log.start()
    expect(log.state.reserveBytes).toBe(10_000)
    const fill = async (room: 'open' | 'reserve') => {
      for (let number = 0; number < 100; number += 1) await log.append(draft(number), room)
    }
    await expect(fill('open')).rejects.toMatchObject({ code: 'CustodyUnavailable', hint: expect.any(String) })
    expect(log.state.sizeBytes).toBeLessThan(11_000)
    await log.append(draft(1), 'reserve')
    await expect(log.append(draft(1), 'open')).rejects.toMatchObject({ code: 'CustodyUnavailable' })
    await expect(fill('reserve')).rejects.toMatchObject({ message: expect.stringContaining('full') })
    expect(log.state.sizeBytes).toBeLessThan(21_000)
    await log.append(draft(1), 'always')
    await log.close()
    expect(log.state.error).toBeUndefined()
  })

  it.each([
    { maxBytes: 1024 ** 3, reserve: 1024 ** 3 * 0.1 },
    { maxBytes: 64 * 1024 ** 2, reserve: 16 * 1024 ** 2 },
    { maxBytes: 20 * 1024 ** 2, reserve: 10 * 1024 ** 2 },
  ])('reserves $reserve of $maxBytes bytes', ({ maxBytes, reserve }) => {
    expect(reserveBytes(maxBytes)).toBe(reserve)
  })

  it('writes an entry that says so for a draft that cannot be written, and goes on for everybody', async () => {
    const place = custodyPlace()
    const logger = recordingLogger()
    const log = custodyLog(place, { logger, retryMs: 10 })
    await log.start()
    const groups = Array.from({ length: 2_000 }, (_, index) => `group-${index}-${'\ud800é'.repeat(60)}`)
    const broken = {
      get number(): never {
        throw new TypeError('is not a function')
      },
    }
    const entries = await Promise.all([
      log.append(draft(1, { actor: { user: 'mallory\ud800', groups } })),
      log.append(draft(2, { detail: broken })),
      log.appendOwed(draft(3, { detail: { count: 1n } })),
      log.append(draft(4)),
    ])
    expect(new Set(entries.map((entry) => entry?.seq))).toEqual(new Set([1, 2, 3, 4]))
    expect(entries[0]).toMatchObject({ actor: { user: 'mallory\\u{d800}', groupCount: 2_000 } })
    expect(entries[1]).toMatchObject({ detail: { notWritable: 'is not a function' } })
    expect(entries[2]).toMatchObject({ detail: { count: '1' } })
    expect(log.state.error).toBeUndefined()
    await log.close()
    expect(custodyEntries(place.folder)).toHaveLength(4)
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [], entries: 4 })
  })

  it('writes an entry once, also where an error in the agent comes from being told of it', async () => {
    const place = custodyPlace()
    const logger = recordingLogger()
    const log = custodyLog(place, { logger, onEntry: failToTakeNote, retryMs: 10 })
    await log.start()
    expect(await log.append(draft(1))).toMatchObject({ seq: 1 })
    expect(await log.appendOwed(draft(2))).toMatchObject({ seq: 2 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    await log.close()
    expect(log.state.error).toBeUndefined()
    expect(custodyEntries(place.folder).map(({ detail }) => detail?.['number'])).toEqual([1, 2])
    expect(logger.lines.filter(({ level }) => level === 'error')).toHaveLength(2)
  })

  it('calls an error in the agent that, and not a failing disk', async () => {
    const place = custodyPlace()
    let isBroken = false
    const disk: CustodyDisk = {
      ...nodeDisk,
      look: (path) => {
        if (isBroken) throw new TypeError('undefined is not a function')
        return nodeDisk.look(path)
      },
    }
    const log = custodyLog(place, { disk })
    await log.start()
    isBroken = true
    await expect(log.append(draft(1))).rejects.toMatchObject({
      code: 'CustodyUnavailable',
      message: expect.stringContaining('an error in the agent'),
    })
    expect(log.state.error).toContain('an error in the agent')
    isBroken = false
    await log.append(draft(2))
    await log.close()
  })

  it('appends to a log of an earlier version, and reads it', async () => {
    const place = custodyPlace()
    await writtenLog(place, 1)
    // A line as that version wrote it: with all groups, however long.
    const groups = Array.from({ length: 500 }, (_, index) => `group-${index}-${'x'.repeat(80)}`)
    const [first] = custodyEntries(place.folder)
    const old = sealEntry(draft(2, { actor: { user: 'alice', groups } }), {
      after: { seq: 1, hash: first?.hash ?? '' },
      time: new Date(),
      node: 'node-a',
    })
    appendFileSync(join(place.folder, '000001.jsonl'), old.line)
    await writtenLog(place, 1)
    expect(custodyEntries(place.folder)).toHaveLength(3)
    expect(await verifyCustody(place.folder)).toMatchObject({ problems: [], entries: 3 })
  })

  it('reads at its start no more than the last two files', async () => {
    const place = custodyPlace()
    await writtenLog(place, 60, { segmentBytes: 2_000 })
    const read: string[] = []
    const disk = { ...nodeDisk, read: (path: string) => (read.push(path), nodeDisk.read(path)) }
    await writtenLog(place, 1, { segmentBytes: 2_000, disk })
    expect(custodyFiles(place.folder).length).toBeGreaterThan(10)
    expect(read.filter((path) => path.endsWith('.jsonl'))).toHaveLength(2)
  })

  it('makes its key once, for its owner only', () => {
    const { root, key } = custodyPlace()
    expect(key.isNew).toBe(true)
    expect(statSync(join(root, 'custody-key.pem')).mode & 0o777).toBe(0o600)
    expect(loadSigningKey(join(root, 'custody-key.pem'))).toMatchObject({ id: key.id, isNew: false })
    writeFileSync(join(root, 'custody-key.pem'), 'no key')
    expect(() => loadSigningKey(join(root, 'custody-key.pem'))).toThrow(/Cannot use the signing key/)
  })
})
