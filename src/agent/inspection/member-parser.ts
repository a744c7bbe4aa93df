import type { MemberList } from '../../archive/member-list.ts'
import type { RootfsChange, RootfsChangeKind, RootfsDiff } from '../../archive/rootfs-diff.ts'
import type { TarEnd, TarEndDefect } from '../../archive/tar-end.ts'
import type { TarMember, TarMemberType } from '../../archive/tar-member.ts'
import { maybe, toCount, toFields, toFlag, toInteger, toList, toOneOf, toProblems, toText } from './answer-fields.ts'
import type { FoundMember } from './archive-reader.ts'
import { toCompression } from './summary-parser.ts'

/** Parses an answer about members. This parser and the following ones throw AnswerError. */
export function parseMemberList(value: unknown): MemberList {
  const { members, remaining, problems } = toFields(value, 'list of members')
  return {
    members: toList(members, 'members', toMember),
    remaining: toCount(remaining, 'remaining'),
    problems: toProblems(problems),
  }
}

export function parseFoundMember(value: unknown): FoundMember | undefined {
  if (value === undefined) return undefined
  const { member, compression } = toFields(value, 'found member')
  return { member: toMember(member), compression: toCompression(compression) }
}

export function parseRootfsDiff(value: unknown): RootfsDiff {
  const { isThere, changes, remaining, isWhole, problems } = toFields(value, 'diff')
  return {
    isThere: toFlag(isThere, 'isThere'),
    changes: toList(changes, 'changes', toChange),
    remaining: toCount(remaining, 'remaining'),
    isWhole: toFlag(isWhole, 'isWhole'),
    problems: toProblems(problems),
  }
}

export function parseTarEnd(value: unknown): TarEnd {
  const { isWhole, members, reason, offset } = toFields(value, 'end of a tar')
  if (toFlag(isWhole, 'isWhole')) return { isWhole: true, members: toCount(members, 'members') }
  return { isWhole: false, reason: toOneOf(reason, 'reason', DEFECTS), offset: toCount(offset, 'offset') }
}

const DEFECTS: readonly TarEndDefect[] = [
  'empty',
  'cut off',
  'no end-of-tar marker',
  'bytes after the end-of-tar marker',
  'not a tar header',
  'too many members',
]

const TYPES: readonly TarMemberType[] = [
  'file',
  'directory',
  'hard-link',
  'symbolic-link',
  'character-device',
  'block-device',
  'fifo',
  'unknown',
]

function toMember(value: unknown): TarMember {
  const { name, type, sizeBytes, offset, modifiedSeconds, modifiedNanos, linkName } = toFields(value, 'member')
  const link = maybe(linkName, 'linkName', toText)
  return {
    name: toText(name, 'name'),
    type: toOneOf(type, 'type', TYPES),
    sizeBytes: toCount(sizeBytes, 'sizeBytes'),
    offset: toCount(offset, 'offset'),
    modifiedSeconds: toInteger(modifiedSeconds, 'modifiedSeconds'),
    modifiedNanos: toCount(modifiedNanos, 'modifiedNanos'),
    ...(link !== undefined && { linkName: link }),
  }
}

const CHANGES: readonly RootfsChangeKind[] = ['added-or-changed', 'changed', 'deleted', 'emptied']

function toChange(value: unknown): RootfsChange {
  const { path, change, entry } = toFields(value, 'change')
  const member = entry === undefined ? undefined : toMember(entry)
  return {
    path: toText(path, 'path'),
    change: toOneOf(change, 'change', CHANGES),
    ...(member !== undefined && { entry: member }),
  }
}
