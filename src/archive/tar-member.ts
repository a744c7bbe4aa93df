import { quoted } from './archive-problem.ts'
import type { Report } from './problem-reporter.ts'

export type TarMemberType =
  | 'file'
  | 'directory'
  | 'hard-link'
  | 'symbolic-link'
  | 'character-device'
  | 'block-device'
  | 'fifo'
  | 'unknown'

export interface TarMember {
  /** Readable text, without `./` in front and slash behind. */
  readonly name: string
  readonly type: TarMemberType
  readonly sizeBytes: number
  /** Where its content begins, in the unpacked archive. */
  readonly offset: number
  readonly modifiedSeconds: number
  readonly modifiedNanos: number
  /** Where a link leads, as readable text. */
  readonly linkName?: string
}

/** By the type flag of its header; in old archives a folder is a file whose name ends in a slash. */
export function memberType(flag: number, endsInSlash: boolean): TarMemberType {
  switch (flag) {
    case 0:
    case 0x30:
    case 0x37:
      return endsInSlash ? 'directory' : 'file'
    case 0x31:
      return 'hard-link'
    case 0x32:
      return 'symbolic-link'
    case 0x33:
      return 'character-device'
    case 0x34:
      return 'block-device'
    case 0x35:
      return 'directory'
    case 0x36:
      return 'fifo'
    default:
      return 'unknown'
  }
}

export function isLink(type: TarMemberType): boolean {
  return type === 'hard-link' || type === 'symbolic-link'
}

/** Tells of what no engine writes among the members of an archive, whatever its name. */
export function reportOddity({ name, type, linkName = '' }: TarMember, flag: number, report: Report): void {
  switch (type) {
    case 'file':
    case 'directory':
      break
    case 'symbolic-link':
      if (name === PARENT_LINK) report('ParentNeeded', () => 'its memory goes on in another archive')
      else report('LinkMember', () => `${quoted(name)} is a symbolic link to "${linkName}"`)
      break
    case 'hard-link':
      report('LinkMember', () => `${quoted(name)} is a hard link to "${linkName}"`)
      break
    case 'character-device':
    case 'block-device':
      report('DeviceMember', () => `${quoted(name)} is a ${type}`)
      break
    case 'fifo':
      report('FifoMember', () => `${quoted(name)} is a FIFO`)
      break
    case 'unknown':
      report('UnknownType', () => `${quoted(name)} is of type ${quoted(String.fromCharCode(flag))}`)
      break
  }
}

/** The one link that an engine writes: Podman's, from a checkpoint to the one before it. */
const PARENT_LINK = 'checkpoint/parent'
