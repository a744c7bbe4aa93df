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
  /** Name that is safe to display, without a leading `./` or a trailing slash. */
  readonly name: string
  readonly type: TarMemberType
  readonly sizeBytes: number
  /** Start of its content in the uncompressed archive. */
  readonly offset: number
  readonly modifiedSeconds: number
  readonly modifiedNanos: number
  /** Target of a link, safe to display. */
  readonly linkName?: string
}

/**
 * Maps the type flag of a header. In old archives, a directory is a file whose name ends in a
 * slash.
 */
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

/** Reports members that no engine writes, whatever their name. */
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

/** The only link that an engine writes: Podman links a checkpoint to the previous one. */
const PARENT_LINK = 'checkpoint/parent'
