import { describe, expect, it } from 'vitest'
import { bufferSource } from '../../src/streams/byte-source.ts'
import { listMembers } from '../../src/archive/member-list.ts'
import { readRootfsDiff } from '../../src/archive/rootfs-diff.ts'
import { END_OF_TAR, rawHeader, rawMember } from '../support/raw-tar.ts'

/** A name with something to say on each of several counts, and not UTF-8. */
const ODD_NAME = Buffer.concat([Buffer.from('/../a//\\'), Buffer.alloc(90, 0xff)])

async function millis(name: (index: number) => string | Uint8Array): Promise<number> {
  const headers = Array.from({ length: 5000 }, (_, index) => rawHeader({ name: name(index) }))
  const source = bufferSource(Buffer.concat([...headers, END_OF_TAR]))
  let best = Infinity
  for (let turn = 0; turn < 3; turn += 1) {
    const begunMs = performance.now()
    await listMembers(source, { limit: 1 })
    best = Math.min(best, performance.now() - begunMs)
  }
  return best
}

describe('the findings of a list of members', () => {
  it('are the first few of each kind, and a number', async () => {
    const header = rawHeader({ name: ODD_NAME })
    const archive = Buffer.concat([...Array.from({ length: 20_000 }, () => header), END_OF_TAR])
    const { problems, remaining } = await listMembers(bufferSource(archive), { limit: 1 })
    expect(remaining).toBe(19_999)
    const byCode = Map.groupBy(problems, ({ code }) => code)
    expect([...byCode.keys()].toSorted()).toEqual(
      ['NameAbsolute', 'NameBackslash', 'NameEscapes', 'NameNotPlain', 'NameNotUtf8', 'DuplicateMember'].toSorted(),
    )
    for (const [, found] of byCode) {
      expect(found).toHaveLength(3)
      expect(found[2]?.detail).toMatch(/, and \d+ more of this kind$/)
      expect(found.every(({ detail }) => detail.length > 10)).toBe(true)
    }
    expect(Buffer.byteLength(JSON.stringify(problems))).toBeLessThan(20_000)
  })

  it('take no longer to find than a few times the members themselves', async () => {
    const usual = await millis((index) => `checkpoint/core-${index}.img`)
    // A decoder that throws for each byte took a thousand times as long.
    expect(await millis((index) => Buffer.concat([Buffer.from(`${index}`), ODD_NAME]))).toBeLessThan(usual * 100)
  })
})

describe('a page of a bounded size', () => {
  const names = Array.from({ length: 60 }, (_, index) => `${index}`.padEnd(90, '\u{1f512}'))

  it('ends early and says that there is more', async () => {
    const archive = Buffer.concat([...names.map((name) => rawMember({ name })), END_OF_TAR])
    const whole = await listMembers(bufferSource(archive), { limit: 1000 })
    const page = await listMembers(bufferSource(archive), { limit: 1000, maxBytes: 10_000 })
    expect(Buffer.byteLength(JSON.stringify(page.members))).toBeLessThan(10_000)
    expect(page.members.length).toBeGreaterThan(10)
    expect(page.remaining).toBe(60 - page.members.length)
    const rest = await listMembers(bufferSource(archive), { skip: page.members.length, limit: 1000 })
    expect([...page.members, ...rest.members]).toEqual(whole.members)
  })

  it('is the same for what differs in the root file system', async () => {
    const diff = Buffer.concat([...names.map((name) => rawMember({ name })), END_OF_TAR])
    const archive = Buffer.concat([rawMember({ name: 'rootfs-diff.tar' }, diff), END_OF_TAR])
    const signal = new AbortController().signal
    const page = await readRootfsDiff(bufferSource(archive), { skip: 0, limit: 1000, maxBytes: 10_000, signal })
    expect(Buffer.byteLength(JSON.stringify(page.changes))).toBeLessThan(10_000)
    expect(page.changes.length).toBeGreaterThan(10)
    expect(page.remaining).toBe(60 - page.changes.length)
  })
})
