import { describe, expect, it } from 'vitest'
import { assessIdentity } from '../../src/archive/identity-assessment.ts'
import { agreesWithName } from '../../src/checkpoint/archive-name.ts'
import type { IdentityClaim } from '../../src/archive/identity-claim.ts'

const CLAIM: IdentityClaim = {
  namespace: 'shop',
  pod: 'web-0',
  podUid: '11111111-2222-3333-4444-555555555555',
  container: 'counter',
  containerId: '3d49',
  isContradictory: false,
}
const FILE = 'checkpoint-web-0_shop-counter-2026-11-20T21:44:57Z.tar'

describe('assessIdentity', () => {
  it("believes a claim that the kubelet's file name agrees with", () => {
    const { isContradictory: _, ...identity } = CLAIM
    expect(assessIdentity({ claim: CLAIM, fileName: FILE, linkCount: 1 })).toEqual({
      ...identity,
      source: 'archive',
      isTrusted: true,
    })
  })

  it.each([
    { name: 'a zone to the east', fileName: 'checkpoint-web-0_shop-counter-2026-11-20T21:44:57+08:00.tar' },
    { name: 'a zone to the west', fileName: 'checkpoint-web-0_shop-counter-2026-11-20T21:44:57-03:30.tar' },
  ])('believes it with $name in the name', ({ fileName }) => {
    expect(assessIdentity({ claim: CLAIM, fileName, linkCount: 1 }).isTrusted).toBe(true)
  })

  it.each([
    { name: 'a second hard link', linkCount: 2 },
    { name: 'an archive that contradicts itself', claim: { ...CLAIM, isContradictory: true } },
    { name: 'another pod', fileName: FILE.replace('web-0', 'web-1') },
    { name: 'another namespace', fileName: FILE.replace('shop', 'bank') },
    { name: 'another container', fileName: FILE.replace('counter', 'sidecar') },
    { name: 'a container whose name goes on', fileName: FILE.replace('counter', 'counter-2') },
    { name: 'a name without the time', fileName: 'checkpoint-web-0_shop-counter-.tar' },
    { name: 'a name of something else', fileName: 'backup.tar' },
    { name: 'a name that ends otherwise', fileName: `${FILE}.gz` },
    { name: 'a name that begins otherwise', fileName: `x${FILE}` },
    { name: 'a name with something between time and end', fileName: FILE.replace('.tar', '.1.tar') },
    { name: 'no namespace in the claim', claim: without('namespace') },
    { name: 'no pod in the claim', claim: without('pod') },
    { name: 'no container in the claim', claim: without('container') },
    { name: 'no container but its id', claim: { containerId: '3d49', isContradictory: false } },
    {
      name: 'a namespace that Kubernetes would refuse',
      claim: { ...CLAIM, namespace: 'Shop' },
      fileName: FILE.replace('shop', 'Shop'),
    },
    { name: 'an empty namespace', claim: { ...CLAIM, namespace: '' }, fileName: FILE.replace('shop', '') },
    {
      name: 'a pod with an underscore, which could be anybody',
      claim: { ...CLAIM, pod: 'web-0_shop' },
      fileName: 'checkpoint-web-0_shop_shop-counter-2026-11-20T21:44:57Z.tar',
    },
  ])(
    'does not believe it with $name, and still says what the archive claims',
    ({ claim = CLAIM, fileName = FILE, linkCount = 1 }) => {
      expect(assessIdentity({ claim, fileName, linkCount })).toMatchObject({ source: 'archive', isTrusted: false })
    },
  )

  it.each([
    {
      name: 'all of it where there is one dash',
      fileName: FILE,
      expected: { pod: 'web-0', namespace: 'shop', container: 'counter', source: 'name' },
    },
    {
      name: 'the pod alone where there are more',
      fileName: FILE.replace('shop', 'my-shop'),
      expected: { pod: 'web-0', source: 'name' },
    },
    { name: 'nothing from another name', fileName: 'backup.tar', expected: { source: 'unknown' } },
    {
      name: 'nothing from a name with two underscores',
      fileName: FILE.replace('shop', 's_p'),
      expected: { source: 'unknown' },
    },
    {
      name: 'nothing from a pod that cannot be',
      fileName: FILE.replace('web-0', '-web-'),
      expected: { source: 'unknown' },
    },
  ])('guesses $name, and believes none of it', ({ fileName, expected }) => {
    const empty: IdentityClaim = { isContradictory: false }
    for (const claim of [undefined, empty]) {
      expect(assessIdentity({ claim, fileName, linkCount: 1 })).toEqual({ ...expected, isTrusted: false })
    }
  })

  it('is not slow on names of any length', () => {
    const start = performance.now()
    assessIdentity({
      claim: undefined,
      fileName: `checkpoint-${'a'.repeat(100_000)}_${'-'.repeat(100_000)}`,
      linkCount: 1,
    })
    agreesWithName({ ...CLAIM, pod: `${'a-'.repeat(120)}a` }, FILE)
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})

function without(key: 'namespace' | 'pod' | 'container'): IdentityClaim {
  const { [key]: _, ...rest } = CLAIM
  return rest
}
