import { ProblemError, type Problem, type ProblemWeight } from '../checkpoint/problem.ts'
import { plainText } from './plain-text.ts'

const WEIGHTS = {
  // the end
  Empty: 'cut',
  CutOff: 'cut',
  NoEndMarker: 'cut',
  LoneZeroBlock: 'damage',
  TrailingBytes: 'note',
  // headers
  NotATar: 'damage',
  HeaderChecksum: 'damage',
  HeaderNumber: 'damage',
  UnknownType: 'damage',
  SparseMember: 'damage',
  SizeWithoutContent: 'note',
  TooManyMembers: 'damage',
  // extended headers
  PaxTooLarge: 'damage',
  PaxInvalid: 'damage',
  PaxGlobal: 'damage',
  LongNameTooLarge: 'damage',
  ExtensionRepeated: 'damage',
  ExtensionWithoutMember: 'damage',
  // names
  NameEmpty: 'damage',
  NameTooLong: 'damage',
  NameAbsolute: 'damage',
  NameEscapes: 'damage',
  NameNotPlain: 'damage',
  NameBackslash: 'damage',
  NameControl: 'damage',
  NameNotUtf8: 'note',
  NameWhiteout: 'damage',
  NamesTooMany: 'damage',
  DuplicateMember: 'damage',
  // members that are not files
  LinkMember: 'damage',
  DeviceMember: 'damage',
  FifoMember: 'damage',
  NotAFile: 'damage',
  ParentNeeded: 'note',
  // compression
  UnsupportedCompression: 'damage',
  NestedCompression: 'damage',
  CompressedCutOff: 'cut',
  CompressedDamaged: 'damage',
  CompressionWindow: 'damage',
  CompressionBomb: 'damage',
  // metadata
  NoConfigDump: 'damage',
  NoSpecDump: 'damage',
  NoCheckpointImages: 'damage',
  NotACheckpoint: 'damage',
  PodCheckpoint: 'note',
  RawCriuImages: 'note',
  OciImage: 'note',
  PreCheckpoint: 'note',
  ImageTooLarge: 'damage',
  JsonTooLarge: 'damage',
  JsonNotUtf8: 'damage',
  JsonInvalid: 'damage',
  JsonTooDeep: 'damage',
  JsonNotAnObject: 'damage',
  JsonDuplicateKey: 'damage',
  JsonKeyCase: 'damage',
  JsonFieldType: 'damage',
  JsonNumber: 'damage',
  TextTooLong: 'damage',
  TimeInvalid: 'damage',
  IdentityDisagrees: 'note',
} as const satisfies Readonly<Record<string, ProblemWeight>>

/** Stable names of the problems with the tar format and the JSON of an archive. */
export type ArchiveProblemCode = keyof typeof WEIGHTS

export const ARCHIVE_PROBLEM_CODES = Object.keys(WEIGHTS) as readonly ArchiveProblemCode[]

export function archiveProblem(code: ArchiveProblemCode, detail: string): Problem {
  return { code, weight: WEIGHTS[code], detail }
}

/** Creates an error for a problem that makes the following bytes unreadable. */
export function archiveError(code: ArchiveProblemCode, detail: string): ProblemError {
  return new ProblemError(archiveProblem(code, detail))
}

const MAX_QUOTED_CHARACTERS = 200

/** Quotes a text from the archive for the detail of a problem. */
export function quoted(text: string): string {
  const cut = text.length > MAX_QUOTED_CHARACTERS ? `${text.slice(0, MAX_QUOTED_CHARACTERS)}…` : text
  return `"${plainText(cut)}"`
}
