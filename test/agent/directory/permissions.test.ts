import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkArchive, takeOwnership, tightenDirectory } from '../../../src/agent/directory/permissions.ts'
import type { PermissionsPolicy } from '../../../src/agent/directory/permissions.ts'
import { asOrdinaryUser } from '../../support/ordinary-user.ts'

const isRoot = process.geteuid?.() === 0
const ONLY_ROOT = 'only root can make what belongs to somebody else'
const SOMEBODY = 12_345

let folder: string
let file: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'permissions-'))
  file = join(folder, 'a.tar')
  writeFileSync(file, 'content')
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

function check(policy: PermissionsPolicy, mode: number, owner?: number) {
  if (owner !== undefined) chownSync(file, owner, owner)
  chmodSync(file, mode)
  const descriptor = openSync(file, 'r')
  try {
    return checkArchive(descriptor, fstatSync(descriptor, { bigint: true }), policy)
  } finally {
    closeSync(descriptor)
  }
}

const modeOf = (path: string) => lstatSync(path).mode & 0o7777
const codes = ({ problems }: ReturnType<typeof check>) => problems.map(({ code }) => code)

describe('the permissions of an archive', () => {
  it.each([
    { before: 0o644, after: 0o600 },
    { before: 0o666, after: 0o600 },
    { before: 0o604, after: 0o600 },
    { before: 0o755, after: 0o600 },
    { before: 0o444, after: 0o400 },
    { before: 0o4755, after: 0o600 },
  ])('are tightened, and nothing is given: $before', ({ before, after }) => {
    const found = check('enforce', before)
    expect(modeOf(file)).toBe(after)
    expect(found).toMatchObject({ problems: [], repair: { mode: before.toString(8).padStart(4, '0') } })
  })

  it.each([0o600, 0o400])('stay as they are where others have none: %o', (mode) => {
    expect(check('enforce', mode)).toEqual({ problems: [] })
    expect(modeOf(file)).toBe(mode)
  })

  it('are only reported with `report`', () => {
    expect(codes(check('report', 0o640))).toEqual(['PermissionsTooWide'])
    expect(modeOf(file)).toBe(0o640)
  })

  it('make an archive of somebody else that of root', ({ skip }) => {
    if (!isRoot) skip(ONLY_ROOT)
    const found = check('enforce', 0o640, SOMEBODY)
    expect(found).toEqual({ problems: [], repair: { mode: '0640', owner: SOMEBODY } })
    expect(lstatSync(file)).toMatchObject({ uid: 0 })
    expect(modeOf(file)).toBe(0o600)
  })

  it('leave the owner with `report`, and name it', ({ skip }) => {
    if (!isRoot) skip(ONLY_ROOT)
    expect(codes(check('report', 0o600, SOMEBODY))).toEqual(['ForeignOwner'])
    expect(lstatSync(file).uid).toBe(SOMEBODY)
  })

  it('are named where the agent may not change them', ({ skip }) => {
    if (!isRoot) skip(ONLY_ROOT)
    chownSync(file, SOMEBODY, SOMEBODY)
    chmodSync(file, 0o644)
    const found = asOrdinaryUser([folder], () => {
      const descriptor = openSync(file, 'r')
      try {
        return checkArchive(descriptor, fstatSync(descriptor, { bigint: true }), 'enforce')
      } finally {
        closeSync(descriptor)
      }
    })
    expect(codes(found)).toEqual(['PermissionsTooWide', 'ForeignOwner'])
    expect(found.repair).toBeUndefined()
  })
})

describe('taking ownership', () => {
  it('does not follow a link', ({ skip }) => {
    if (!isRoot) skip(ONLY_ROOT)
    const link = join(folder, 'b.tar')
    chownSync(file, SOMEBODY, SOMEBODY)
    symlinkSync(file, link)
    expect(takeOwnership(Buffer.from(link))).toBeUndefined()
    expect(lstatSync(file).uid).toBe(SOMEBODY)
    expect(takeOwnership(Buffer.from(file))).toEqual({ mode: '0644', owner: SOMEBODY })
    expect(lstatSync(file).uid).toBe(0)
  })

  it('fails quietly where there is nothing', () => {
    expect(takeOwnership(Buffer.from(join(folder, 'none.tar')))).toBeUndefined()
  })
})

describe('the permissions of the directory', () => {
  it('are tightened, and what was there is told', () => {
    chmodSync(folder, 0o755)
    expect(tightenDirectory(folder)).toMatchObject({ what: 'directory', path: folder, mode: '0755' })
    expect(modeOf(folder)).toBe(0o700)
    expect(tightenDirectory(folder)).toBeUndefined()
  })

  it('are nothing to do where there is no folder', () => {
    expect(tightenDirectory(join(folder, 'none'))).toBeUndefined()
    expect(tightenDirectory(file)).toBeUndefined()
  })
})
