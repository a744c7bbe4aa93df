import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findFreezer, toCgroupPath } from '../../src/runtime/cgroup-freezer.ts'

const ID = 'f6c8'.repeat(16)
const CGROUPFS = `/kubepods/burstable/pod0c1ef1d5/${ID}`
const SYSTEMD = `kubepods-burstable-pod0c1ef1d5_6b5a.slice:cri-containerd:${ID}`
const SYSTEMD_PATH = `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0c1ef1d5_6b5a.slice/cri-containerd-${ID}.scope`

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cgroup-'))
})

afterEach(() => {
  rmSync(root, { recursive: true })
})

function put(path: string, content: string): string {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  return file
}

describe('toCgroupPath', () => {
  it.each([
    { name: 'a path', given: CGROUPFS, path: CGROUPFS },
    { name: 'a relative path', given: 'kubepods/pod1/x', path: 'kubepods/pod1/x' },
    { name: 'systemd', given: SYSTEMD, path: SYSTEMD_PATH },
    { name: 'CRI-O under systemd', given: 'kubepods.slice:crio:x', path: 'kubepods.slice/crio-x.scope' },
    { name: 'systemd without a prefix', given: 'kubepods.slice::x', path: 'kubepods.slice/x.scope' },
    { name: 'systemd without a slice, which means the system', given: ':cri:x', path: 'system.slice/cri-x.scope' },
    { name: 'the root slice', given: '-.slice:cri:x', path: 'cri-x.scope' },
    { name: 'dots that climb nowhere', given: '/a/..b/c..', path: '/a/..b/c..' },
  ])('reads $name', ({ given, path }) => {
    expect(toCgroupPath(given)).toBe(path)
  })

  it.each([
    { name: 'nothing', given: '' },
    { name: 'a path that climbs out', given: '/kubepods/../../../etc' },
    { name: 'a path that ends outside', given: '..' },
    { name: 'a slice that climbs out', given: '../../x.slice:cri:id' },
    { name: 'a prefix that climbs out', given: 'a.slice:../../x/y:id' },
    { name: 'an id that climbs out', given: 'a.slice:cri:/../../../x' },
    { name: 'a NUL', given: '/kubepods/a\0b' },
  ])('refuses $name', ({ given }) => {
    expect(toCgroupPath(given)).toBeUndefined()
    expect(findFreezer(root, given)).toBeUndefined()
  })
})

const TREES = [
  { name: 'version 1, path', given: CGROUPFS, file: `freezer${CGROUPFS}/freezer.state`, on: 'FROZEN', off: 'THAWED' },
  {
    name: 'version 1, systemd',
    given: SYSTEMD,
    file: `freezer/${SYSTEMD_PATH}/freezer.state`,
    on: 'FROZEN',
    off: 'THAWED',
  },
  { name: 'version 2, path', given: CGROUPFS, file: `${CGROUPFS}/cgroup.freeze`, on: '1', off: '0' },
  { name: 'version 2, systemd', given: SYSTEMD, file: `${SYSTEMD_PATH}/cgroup.freeze`, on: '1', off: '0' },
  {
    name: 'mixed, frozen by the unified part',
    given: CGROUPFS,
    file: `unified${CGROUPFS}/cgroup.freeze`,
    on: '1',
    off: '0',
  },
]

describe('findFreezer', () => {
  it.each(TREES)('sees, freezes and thaws: $name', async ({ given, file, on, off }) => {
    const control = put(file, `${off}\n`)
    const freezer = findFreezer(root, given)
    expect(await freezer?.isFrozen()).toBe(false)
    writeFileSync(control, `${on}\n`)
    expect(await freezer?.isFrozen()).toBe(true)
    await freezer?.thaw()
    expect(readFileSync(control, 'utf8')).toBe(off)
    expect(await freezer?.isFrozen()).toBe(false)
    await freezer?.freeze()
    expect(readFileSync(control, 'utf8')).toBe(on)
  })

  // crun with the systemd manager: the processes are in a child of the scope that the spec names.
  it.each([
    { name: 'version 1', base: `freezer/${SYSTEMD_PATH}`, file: 'freezer.state', on: 'FROZEN', off: 'THAWED' },
    { name: 'version 2', base: SYSTEMD_PATH, file: 'cgroup.freeze', on: '1', off: '0' },
  ])('sees, freezes and thaws the child that holds the processes: $name', async ({ base, file, on, off }) => {
    const scope = put(`${base}/${file}`, `${off}\n`)
    put(`${base}/cgroup.procs`, '')
    const child = put(`${base}/container/${file}`, `${on}\n`)
    put(`${base}/container/cgroup.procs`, '0\n')
    const freezer = findFreezer(root, SYSTEMD)
    expect(await freezer?.isFrozen()).toBe(true)
    await freezer?.thaw()
    expect([readFileSync(scope, 'utf8'), readFileSync(child, 'utf8')]).toEqual([off, off])
    expect(await freezer?.isFrozen()).toBe(false)
    await freezer?.freeze()
    expect([readFileSync(scope, 'utf8'), readFileSync(child, 'utf8')]).toEqual([off, on])
  })

  it('takes no child that the workload froze for the whole container', async () => {
    put(`${SYSTEMD_PATH}/cgroup.freeze`, '0\n')
    put(`${SYSTEMD_PATH}/cgroup.procs`, '')
    put(`${SYSTEMD_PATH}/init.scope/cgroup.freeze`, '0\n')
    const frozen = put(`${SYSTEMD_PATH}/user.slice/cgroup.freeze`, '1\n')
    expect(await findFreezer(root, SYSTEMD)?.isFrozen()).toBe(false)
    await findFreezer(root, SYSTEMD)?.freeze()
    expect(readFileSync(join(root, SYSTEMD_PATH, 'cgroup.freeze'), 'utf8')).toBe('1')
    expect(readFileSync(frozen, 'utf8')).toBe('1\n')
  })

  it('does not count a child without processes', async () => {
    put(`${SYSTEMD_PATH}/cgroup.freeze`, '0\n')
    put(`${SYSTEMD_PATH}/cgroup.procs`, '')
    put(`${SYSTEMD_PATH}/left/cgroup.freeze`, '0\n')
    put(`${SYSTEMD_PATH}/left/cgroup.events`, 'populated 0\nfrozen 0\n')
    put(`${SYSTEMD_PATH}/container/cgroup.freeze`, '1\n')
    put(`${SYSTEMD_PATH}/container/cgroup.events`, 'populated 1\nfrozen 1\n')
    expect(await findFreezer(root, SYSTEMD)?.isFrozen()).toBe(true)
  })

  it('sees a freeze that the slice of the pod was given', async () => {
    put(`${CGROUPFS}/cgroup.freeze`, '0\n')
    put(`${CGROUPFS}/cgroup.events`, 'populated 1\nfrozen 1\n')
    expect(await findFreezer(root, CGROUPFS)?.isFrozen()).toBe(true)
  })

  it('says nothing where it cannot see a child', async () => {
    put(`${SYSTEMD_PATH}/cgroup.freeze`, '0\n')
    put(`${SYSTEMD_PATH}/container/cgroup.freeze`, '0\n')
    mkdirSync(join(root, SYSTEMD_PATH, 'container/cgroup.events'))
    await expect(findFreezer(root, SYSTEMD)?.isFrozen()).rejects.toMatchObject({ code: 'EISDIR' })
  })

  it('takes a version 1 cgroup that is about to freeze for frozen', async () => {
    put(`freezer${CGROUPFS}/freezer.state`, 'FREEZING\n')
    expect(await findFreezer(root, CGROUPFS)?.isFrozen()).toBe(true)
  })

  it('goes by version 1 in a mixed tree, where that does the freezing', async () => {
    put(`freezer${CGROUPFS}/freezer.state`, 'FROZEN\n')
    put(`unified${CGROUPFS}/cgroup.procs`, '')
    expect(await findFreezer(root, CGROUPFS)?.isFrozen()).toBe(true)
  })

  it.each([
    { name: 'no tree is mounted', prepare: () => undefined },
    { name: 'the tree does not hold this container', prepare: () => put('kubepods/other/cgroup.freeze', '0\n') },
    { name: 'the cgroup cannot be frozen', prepare: () => put(`${CGROUPFS}/cgroup.procs`, '') },
  ])('finds none where $name', ({ prepare }) => {
    prepare()
    expect(findFreezer(root, CGROUPFS)).toBeUndefined()
  })

  it('fails, and says nothing false, when the container ends in between', async () => {
    put(`${CGROUPFS}/cgroup.freeze`, '0\n')
    const freezer = findFreezer(root, CGROUPFS)
    rmSync(join(root, 'kubepods'), { recursive: true })
    await expect(freezer?.isFrozen()).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
