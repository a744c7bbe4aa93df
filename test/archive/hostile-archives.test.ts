import { describe, expect, it } from 'vitest'
import { type ArchiveSummary, summarizeArchive } from '../../src/agent/inspection/archive-summary.ts'
import { ARCHIVE_PROBLEM_CODES } from '../../src/archive/archive-problem.ts'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { listMembers } from '../../src/archive/member-list.ts'
import { IMAGE_PROBLEM_CODES } from '../../src/criu/image-problem.ts'
import { rawHeader } from '../support/raw-tar.ts'
import { compressionCases } from './hostile/compression-cases.ts'
import { honestArchive, type HostileCase, withLast } from './hostile/hostile-case.ts'
import { imageCases } from './hostile/image-cases.ts'
import { jsonCases } from './hostile/json-cases.ts'
import { contentCases, endCases, extensionCases, headerCases, nameCases, typeCases } from './hostile/tar-cases.ts'

const GROUPS: Readonly<Record<string, readonly HostileCase[]>> = {
  'the end': endCases,
  headers: headerCases,
  'extended headers': extensionCases,
  names: nameCases,
  'types of members': typeCases,
  'members that are missing or others': contentCases,
  compression: compressionCases,
  JSON: jsonCases,
  'CRIU images': imageCases,
}

/** Far more than any of them takes; one that stalls takes for ever. */
const MAX_MILLIS = 10_000

describe('a summary of an archive that nothing is wrong with', () => {
  it('has no problem', async () => {
    expect(await summarizeArchive(bufferSource(honestArchive()))).toMatchObject({ state: 'whole', problems: [] })
  })
})

describe.each(Object.entries(GROUPS))('a summary of an archive with strange %s', (_, cases) => {
  it.each(cases)('$name: $code', async ({ archive, code, state = 'damaged', summary = {} }) => {
    const made = archive()
    const source = made instanceof Uint8Array ? bufferSource(made) : made
    const start = performance.now()
    const result = await summarizeArchive(source)
    const millis = performance.now() - start
    const codes = codesOf(result)
    // `none`: what looks bad is not, and nothing may be said about it.
    const isAsExpected = code === 'none' ? codes.length === 0 : codes.includes(code)
    expect({ state: result.state, codes, isAsExpected }).toEqual({ state, codes, isAsExpected: true })
    expect(result).toMatchObject(summary)
    expect(millis).toBeLessThan(MAX_MILLIS)
    expect(Object.prototype).not.toHaveProperty('polluted')
  })
})

describe('the problems', () => {
  const all = Object.values(GROUPS).flat()

  it('have each a case that shows them', () => {
    const shown = new Set(all.map(({ code }) => code))
    const codes = [...ARCHIVE_PROBLEM_CODES, ...IMAGE_PROBLEM_CODES]
    expect(codes.filter((code) => !shown.has(code))).toEqual([])
  })

  it('are shown by cases of different names', () => {
    const names = all.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })

  it('are texts that can be shown anywhere, and short', async () => {
    for (const { archive } of [...nameCases, ...typeCases, ...jsonCases]) {
      const made = archive()
      const { problems } = await summarizeArchive(made instanceof Uint8Array ? bufferSource(made) : made)
      for (const { detail } of problems) expect(detail).toMatch(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]{1,1000}$/u)
    }
  })

  it('of one kind are counted, not repeated a million times', async () => {
    const links = Array.from({ length: 500 }, (_, index) =>
      rawHeader({ name: `link-${index}`, type: '2', linkName: '/etc/shadow' }),
    )
    const { problems } = await summarizeArchive(bufferSource(withLast(...links)))
    expect(problems).toHaveLength(3)
    expect(problems.at(-1)?.detail).toContain('and 497 more of this kind')
  })

  it('do not keep the members from being listed', async () => {
    for (const { archive } of all.filter(({ name }) => !/million|megabytes|thousand|bomb/.test(name))) {
      const made = archive()
      const list = await listMembers(made instanceof Uint8Array ? bufferSource(made) : made, { limit: 10 })
      expect(list.members.length).toBeLessThanOrEqual(10)
    }
  })
})

function codesOf(summary: ArchiveSummary): string[] {
  return summary.problems.map(({ code }) => code)
}
