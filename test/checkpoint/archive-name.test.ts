import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { formatArchiveName, formatLocalTime } from '../../src/checkpoint/archive-name.ts'
import { readableText } from '../../src/shared/readable-text.ts'

const TAKEN = new Date('2026-11-20T21:34:07.999Z')
const WEB = { pod: 'web-0', namespace: 'shop', container: 'counter', takenAt: TAKEN }
const KEEP_TMP = '.keep.tmp'

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('formatLocalTime', () => {
  it.each([
    { zone: 'UTC', at: '2026-11-20T21:34:07.999Z', text: '2026-11-20T21:34:07Z' },
    { zone: 'Europe/Berlin', at: '2026-11-20T21:34:07Z', text: '2026-11-20T22:34:07+01:00' },
    { zone: 'Europe/Berlin', at: '2026-06-20T22:34:07Z', text: '2026-06-21T00:34:07+02:00' },
    { zone: 'Europe/London', at: '2026-11-20T21:34:07Z', text: '2026-11-20T21:34:07Z' },
    { zone: 'America/New_York', at: '2026-11-21T02:34:07Z', text: '2026-11-20T21:34:07-05:00' },
    { zone: 'America/St_Johns', at: '2026-11-20T21:34:07Z', text: '2026-11-20T18:04:07-03:30' },
    { zone: 'Asia/Kathmandu', at: '2026-12-31T21:34:07Z', text: '2027-01-01T03:19:07+05:45' },
    { zone: 'Pacific/Kiritimati', at: '2026-11-20T21:34:07Z', text: '2026-11-21T11:34:07+14:00' },
    // The hour that comes twice is told apart by its offset.
    { zone: 'Europe/Berlin', at: '2026-10-25T00:30:00Z', text: '2026-10-25T02:30:00+02:00' },
    { zone: 'Europe/Berlin', at: '2026-10-25T01:30:00Z', text: '2026-10-25T02:30:00+01:00' },
  ])('says $text for $at in $zone, as Go does', ({ zone, at, text }) => {
    vi.stubEnv('TZ', zone)
    expect(formatLocalTime(new Date(at))).toBe(text)
    expect(new Date(text).getTime()).toBe(Math.floor(Date.parse(at) / 1000) * 1000)
  })
})

describe('formatArchiveName', () => {
  it('gives the name that the kubelet gives', () => {
    vi.stubEnv('TZ', 'UTC')
    expect(formatArchiveName(WEB)).toBe('checkpoint-web-0_shop-counter-2026-11-20T21:34:07Z.tar')
    vi.stubEnv('TZ', 'Asia/Kathmandu')
    expect(formatArchiveName(WEB)).toBe('checkpoint-web-0_shop-counter-2026-11-21T03:19:07+05:45.tar')
  })

  it('keeps a name whole that fits with its markers, and cuts one that does not', () => {
    vi.stubEnv('TZ', 'Europe/Berlin')
    const room = 255 - KEEP_TMP.length - formatArchiveName({ ...WEB, pod: '' }).length
    const fits = 'p'.repeat(room)
    expect(formatArchiveName({ ...WEB, pod: fits })).toContain(`checkpoint-${fits}_shop-counter-`)
    const cut = formatArchiveName({ ...WEB, pod: `${fits}q` })
    expect(Buffer.byteLength(cut)).toBe(255 - KEEP_TMP.length)
    expect(cut).toMatch(/^checkpoint-p+~[0-9a-f]{8}_shop-counter-2026-11-20T22:34:07\+01:00\.tar$/)
  })

  it('tells long names apart that differ only in what is cut', () => {
    const [a, b] = ['a', 'b'].map((end) => formatArchiveName({ ...WEB, pod: `${'p'.repeat(250)}${end}` }))
    expect(a).not.toBe(b)
  })

  it('cuts between characters', () => {
    for (let shift = 0; shift < 4; shift += 1) {
      const name = formatArchiveName({ ...WEB, pod: `${'a'.repeat(shift)}${'🙂'.repeat(63)}` })
      expect(name.isWellFormed()).toBe(true)
      expect(Buffer.byteLength(name) + KEEP_TMP.length).toBeLessThanOrEqual(255)
    }
  })

  it.each([
    { what: 'a slash', pod: Buffer.from('../../etc/x'), shown: 'checkpoint-..%2F..%2Fetc%2Fx_' },
    { what: 'a NUL', pod: Buffer.from('a\0b'), shown: String.raw`checkpoint-a\x00b_` },
    { what: 'a line break', pod: Buffer.from('a\nb'), shown: String.raw`checkpoint-a\x0ab_` },
    { what: 'bytes that are no UTF-8', pod: Buffer.from([0x61, 0xff]), shown: String.raw`checkpoint-a\xff_` },
  ])('is a harmless file name for a pod with $what', ({ pod, shown }) => {
    const name = formatArchiveName({ ...WEB, pod: readableText(pod) })
    expect(name.startsWith(shown)).toBe(true)
    expect(name).not.toMatch(/[/\0]/)
  })

  it('has no slash and no NUL even for texts that were never made readable', () => {
    expect(formatArchiveName({ pod: 'a/b', namespace: 'c\0d', container: '/', takenAt: TAKEN })).toContain(
      'checkpoint-a%2Fb_c%00d-%2F-',
    )
  })

  it('is a name that the file system takes, with its marker, for any names', () => {
    const folder = mkdtempSync(join(tmpdir(), 'archive-name-'))
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => readableText(bytes)),
      fc.string({ unit: 'binary', maxLength: 300 }).map((text) => readableText(Buffer.from(text))),
      fc.constantFrom('', '.', '..', '🙂'.repeat(80), 'n'.repeat(253), '/'.repeat(253)),
    )
    try {
      fc.assert(
        fc.property(part, part, part, (pod, namespace, container) => {
          const name = formatArchiveName({ pod, namespace, container, takenAt: TAKEN })
          expect(name).toMatch(/^checkpoint-[^]*\.tar$/)
          writeFileSync(join(folder, `${name}${KEEP_TMP}`), '')
          expect(readdirSync(folder)).toEqual([`${name}${KEEP_TMP}`])
          rmSync(join(folder, `${name}${KEEP_TMP}`))
        }),
        { numRuns: 300 },
      )
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
