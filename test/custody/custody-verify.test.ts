import { createHash, generateKeyPairSync } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyCustody } from '../../src/custody/custody-verify.ts'
import { exportCustody, readCustodyPage } from '../../src/custody/custody-page.ts'
import { runVerifyCommand } from '../../src/custody/verify-command.ts'
import { loadSigningKey } from '../../src/custody/signing-key.ts'
import { custodyLog, draft } from './custody-fixture.ts'
import { custodyFiles } from '../support/custody-files.ts'

// One sound log of several files, which each test takes a copy of.
let root: string
let sound: string

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'custody-verify-'))
  sound = join(root, 'custody')
  const key = loadSigningKey(join(root, 'key.pem'))
  const log = custodyLog({ folder: sound, key }, { segmentBytes: 3_000 })
  await log.start()
  for (let number = 0; number < 30; number += 1) await log.append(draft(number))
  await log.close()
})
afterAll(() => rmSync(root, { recursive: true }))

function copy(): string {
  const folder = mkdtempSync(join(root, 'copy-'))
  cpSync(sound, folder, { recursive: true })
  return folder
}

const linesIn = (folder: string, name: string) => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n')
const write = (folder: string, name: string, lines: readonly string[]) =>
  writeFileSync(join(folder, name), lines.map((line) => `${line}\n`).join(''))

/** A segment of the log, and two lines of it that follow each other. */
const place = fc.record({ file: fc.nat(1_000), line: fc.nat(1_000) })

function resolve(folder: string, { file, line }: { file: number; line: number }) {
  const files = custodyFiles(folder)
  const name = files[file % files.length] ?? ''
  const lines = linesIn(folder, name)
  return { name, lines, index: line % lines.length }
}

const RUNS = process.env['SLOW'] === '1' ? 2_000 : 150

describe('verifyCustody', () => {
  it('finds a log authentic whose head is signed by the key that was given, and only with that key', async () => {
    expect(custodyFiles(sound).length).toBeGreaterThan(3)
    const { id, publicKey } = loadSigningKey(join(root, 'key.pem'))
    const report = await verifyCustody(sound, { publicKey })
    expect(report).toMatchObject({ verdict: 'authentic', problems: [], notChecked: [], keyId: id })
    expect(report.last).toEqual(report.head)
    expect(report.authenticatedSeq).toBe(report.last?.seq)
    const unchecked = await verifyCustody(sound)
    expect(unchecked).toMatchObject({ verdict: 'not-authenticated', problems: [], keyId: undefined, foundKeyId: id })
  })

  it('says nothing of whose a log is that has no head, also with a key', async () => {
    const folder = copy()
    const { publicKey } = loadSigningKey(join(root, 'key.pem'))
    const other = loadSigningKey(join(mkdtempSync(join(root, 'other-')), 'key.pem'))
    for (const [first, ...names] of [custodyFiles(folder)]) {
      for (const name of names) rmSync(join(folder, name))
      write(folder, first ?? '', linesIn(folder, first ?? '').slice(0, 1))
    }
    rmSync(join(folder, 'head.json'))
    for (const key of [undefined, publicKey, other.publicKey]) {
      const report = await verifyCustody(folder, key === undefined ? {} : { publicKey: key })
      expect(report).toMatchObject({
        verdict: 'not-authenticated',
        entries: 1,
        keyId: undefined,
        foundKeyId: undefined,
      })
      expect(report.notChecked).toHaveLength(1)
    }
  })

  it('is not authentic beyond its head: those who have no key can go on with a chain', async () => {
    const folder = copy()
    const { publicKey } = loadSigningKey(join(root, 'key.pem'))
    const head = readFileSync(join(folder, 'head.json'), 'utf8')
    const stranger = loadSigningKey(join(mkdtempSync(join(root, 'stranger-')), 'key.pem'))
    const log = custodyLog({ folder, key: stranger })
    await log.start()
    await log.append(draft(99))
    await log.close()
    writeFileSync(join(folder, 'head.json'), head)
    const report = await verifyCustody(folder, { publicKey })
    expect(report).toMatchObject({ verdict: 'not-authenticated', problems: [] })
    expect(report.last?.seq).toBe((report.authenticatedSeq ?? 0) + 1)
    expect(report.notChecked[0]).toContain(`up to ${report.authenticatedSeq}`)
  })

  it('takes a head by its values as nothing that was signed', async () => {
    const { last } = await verifyCustody(sound)
    const folder = copy()
    rmSync(join(folder, 'head.json'))
    const { publicKey } = loadSigningKey(join(root, 'key.pem'))
    const options = last === undefined ? {} : { head: last, publicKey }
    expect(await verifyCustody(folder, options)).toMatchObject({ verdict: 'not-authenticated', head: last })
  })

  it.each([
    'no key at all',
    generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }),
  ])('refuses a key that is none, and passes over such a file beside the log', async (pem) => {
    await expect(verifyCustody(sound, { publicKey: pem })).rejects.toThrow(/unsupported|type rsa/)
    const folder = copy()
    writeFileSync(join(folder, 'public-key.pem'), pem)
    expect(await verifyCustody(folder)).toMatchObject({ verdict: 'not-authenticated', foundKeyId: undefined })
  })

  it('finds any flipped bit, and names its line', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1_000), fc.nat(100_000), fc.integer({ min: 0, max: 7 }), async (file, at, bit) => {
        const folder = copy()
        const files = custodyFiles(folder)
        const name = files[file % files.length] ?? ''
        const bytes = readFileSync(join(folder, name))
        const offset = at % bytes.length
        bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit)
        writeFileSync(join(folder, name), bytes)
        const line = readFileSync(join(sound, name)).subarray(0, offset).toString('latin1').split('\n').length
        const { verdict, problems } = await verifyCustody(folder)
        expect(verdict).toBe('broken')
        expect(problems[0]).toMatchObject({ file: name, line })
        rmSync(folder, { recursive: true })
      }),
      { numRuns: RUNS },
    )
  })

  it('finds a dropped line, and names the one that stands in its place', async () => {
    await fc.assert(
      fc.asyncProperty(place, async (where) => {
        const folder = copy()
        const { name, lines, index } = resolve(folder, where)
        write(folder, name, lines.toSpliced(index, 1))
        const isLastOfAll = name === custodyFiles(folder).at(-1) && index === lines.length - 1
        const { verdict, problems } = await verifyCustody(folder)
        expect(verdict).toBe('broken')
        const isLastOfFile = index === lines.length - 1
        const inItsPlace = isLastOfFile ? { code: 'ChainBroken', line: 1 } : { file: name, line: index + 1 }
        expect(problems[0]).toMatchObject(isLastOfAll ? { code: 'EndMissing' } : inItsPlace)
        rmSync(folder, { recursive: true })
      }),
      { numRuns: RUNS },
    )
  })

  it('finds swapped lines, and names the first', async () => {
    await fc.assert(
      fc.asyncProperty(place, fc.nat(1_000), async (where, other) => {
        const folder = copy()
        const { name, lines, index } = resolve(folder, where)
        const second = (index + 1 + (other % (lines.length - 1))) % lines.length
        const swapped = [...lines]
        swapped[index] = lines[second] ?? ''
        swapped[second] = lines[index] ?? ''
        write(folder, name, swapped)
        const { verdict, problems } = await verifyCustody(folder)
        expect(verdict).toBe('broken')
        expect(problems[0]).toMatchObject({ file: name, line: Math.min(index, second) + 1 })
        rmSync(folder, { recursive: true })
      }),
      { numRuns: RUNS },
    )
  })

  it('finds a line that was changed and given the right hash, by the one after it', async () => {
    const folder = copy()
    const [name = ''] = custodyFiles(folder)
    const lines = linesIn(folder, name)
    const forged = (lines[2] ?? '').replace('alice', 'mallory').replace(/,"hash":"\w+"\}$/, '')
    const hash = createHash('sha256').update(`${forged}}`).digest('hex')
    write(folder, name, lines.with(2, `${forged},"hash":"${hash}"}`))
    expect((await verifyCustody(folder)).problems).toMatchObject([{ code: 'ChainBroken', file: name, line: 4 }])
  })

  it('finds by the head that the last lines, or the last files, are missing', async () => {
    for (const drop of [1, 3, 100]) {
      const folder = copy()
      const name = custodyFiles(folder).at(-1) ?? ''
      const kept = linesIn(folder, name).slice(0, -drop)
      if (kept.length === 0) rmSync(join(folder, name))
      else write(folder, name, kept)
      expect((await verifyCustody(folder)).problems).toMatchObject([{ code: 'EndMissing' }])
    }
  })

  it('finds by a head that was kept elsewhere that the log and the head beside it were cut together', async () => {
    const folder = copy()
    const name = custodyFiles(folder).at(-1) ?? ''
    const head = readFileSync(join(folder, 'head.json'), 'utf8')
    rmSync(join(folder, name))
    rmSync(join(folder, 'head.json'))
    expect((await verifyCustody(folder)).verdict).toBe('not-authenticated')
    expect((await verifyCustody(folder, { headText: head })).problems).toMatchObject([{ code: 'EndMissing' }])
    const logLine = JSON.stringify({ level: 30, msg: 'Custody log head', head: JSON.parse(head) as object })
    expect((await verifyCustody(folder, { headText: logLine })).problems).toMatchObject([{ code: 'EndMissing' }])
  })

  it('finds by its signature that somebody wrote the whole log anew', async () => {
    const pinned = readFileSync(join(sound, 'public-key.pem'), 'utf8')
    const forged = mkdtempSync(join(root, 'forged-'))
    const log = custodyLog({ folder: join(forged, 'custody'), key: loadSigningKey(join(forged, 'key.pem')) })
    await log.start()
    await log.append(draft(1))
    await log.close()
    expect((await verifyCustody(log.folder)).verdict).toBe('not-authenticated')
    const report = await verifyCustody(log.folder, { publicKey: pinned })
    expect(report).toMatchObject({ verdict: 'broken', problems: [{ code: 'HeadUnsigned' }], keyId: undefined })
  })

  it('begins where the oldest file begins, and with the entry before it finds that nothing else is missing', async () => {
    const folder = copy()
    const [first = '', second = ''] = custodyFiles(folder)
    const last = JSON.parse(linesIn(folder, first).at(-1) ?? '') as { readonly seq: number; readonly hash: string }
    rmSync(join(folder, first))
    const report = await verifyCustody(folder, { from: last })
    expect(report).toMatchObject({ problems: [], first: { seq: last.seq + 1 } })
    write(folder, second, linesIn(folder, second).slice(1))
    expect((await verifyCustody(folder)).problems).toMatchObject([{ code: 'BeginningMissing', file: second, line: 1 }])
  })

  it('names a file that is missing in the middle', async () => {
    const folder = copy()
    const [, second = '', third = ''] = custodyFiles(folder)
    rmSync(join(folder, second))
    expect((await verifyCustody(folder)).problems[0]).toMatchObject({ code: 'SegmentMissing', file: third })
  })
})

describe('checkpoint-agent verify-custody', () => {
  it('says that a log is authentic, with its key and its end', async () => {
    const { text, exitCode } = await runVerifyCommand([sound, '--public-key', join(sound, 'public-key.pem')])
    expect(exitCode).toBe(0)
    expect(text).toMatch(
      /\nhead {9}\d+:[0-9a-f]{64}\nkey {10}[0-9a-f]{64} \(the given one; .*\nauthentic, up to entry \d+\n$/,
    )
  })

  it('ends with 3 where nothing was checked against a key, and with 1 for another key', async () => {
    const none = await runVerifyCommand([sound])
    expect(none.exitCode).toBe(3)
    expect(none.text).toMatch(/\nchain intact, not authenticated: no key was given.*\n$/)
    const other = loadSigningKey(join(mkdtempSync(join(root, 'other-')), 'key.pem'))
    const file = join(root, 'other.pem')
    writeFileSync(file, other.publicKey)
    const wrong = await runVerifyCommand([sound, '--public-key', file])
    expect(wrong.exitCode).toBe(1)
    expect(wrong.text).toMatch(/HeadUnsigned: .*\nBROKEN\n$/)
    expect(wrong.text).not.toContain(other.id)
    const json = await runVerifyCommand([sound, '--json'])
    expect(JSON.parse(json.text)).toMatchObject({ verdict: 'not-authenticated' })
  })

  it('names the line that is wrong, and ends with 1', async () => {
    const folder = copy()
    const [name = ''] = custodyFiles(folder)
    const lines = linesIn(folder, name)
    write(folder, name, lines.with(1, (lines[1] ?? '').replace('alice', 'alicf')))
    const { text, exitCode } = await runVerifyCommand([folder])
    expect(exitCode).toBe(1)
    expect(text).toContain(`${name}:2: HashWrong: `)
    expect(text).toMatch(/\nBROKEN\n$/)
  })

  it('reads an exported file, and a head by its values', async () => {
    const file = join(mkdtempSync(join(root, 'export-')), 'custody.jsonl')
    const chunks: Buffer[] = []
    for await (const chunk of exportCustody(sound, { after: 5 })) chunks.push(chunk)
    writeFileSync(file, Buffer.concat(chunks))
    const { entries } = await readCustodyPage(sound, { after: 0, limit: 1_000, upTo: 1_000 })
    const [fifth, last] = [entries[4], entries.at(-1)]
    const from = `${fifth?.seq}:${fifth?.hash}`
    expect(await runVerifyCommand([file, '--from', from, '--head', `${last?.seq}:${last?.hash}`])).toMatchObject({
      exitCode: 3,
    })
    const signed = [
      file,
      '--from',
      from,
      '--head',
      join(sound, 'head.json'),
      '--public-key',
      join(sound, 'public-key.pem'),
    ]
    expect(await runVerifyCommand(signed)).toMatchObject({ exitCode: 0 })
    expect(await runVerifyCommand([file, '--head', `${last?.seq}:${fifth?.hash}`])).toMatchObject({ exitCode: 1 })
  })

  it.each([[[]], [['a', 'b']], [['--nothing']], [['/nowhere/at/all']], [['.', '--from', 'x']]])(
    'refuses %j with a hint',
    async (argv) => {
      await expect(runVerifyCommand(argv)).rejects.toMatchObject({ code: 'InvalidArguments', hint: expect.any(String) })
    },
  )
})

describe('readCustodyPage', () => {
  it('gives every entry once, page by page, and those of one checkpoint alone', async () => {
    const all: number[] = []
    for (let after: number | undefined = 0; after !== undefined;) {
      const page = await readCustodyPage(sound, { after, limit: 7, upTo: 1_000 })
      all.push(...page.entries.map(({ seq }) => seq))
      after = page.next
    }
    expect(all).toEqual(all.map((_, index) => index + 1))
    const one = await readCustodyPage(sound, { after: 0, limit: 100, upTo: 1_000, checkpointId: '9f2c4e5a7b1d3c60' })
    expect(one.entries).toHaveLength(30)
    const none = await readCustodyPage(sound, { after: 0, limit: 100, upTo: 1_000, checkpointId: 'aaaa' })
    expect(none).toEqual({ entries: [], next: undefined })
  })
})
