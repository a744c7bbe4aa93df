import { ProblemError, type Problem, type ProblemWeight } from '../checkpoint/problem.ts'

const WEIGHTS = {
  NoInventory: 'damage',
  NoProcessTree: 'damage',
  ImageMagic: 'damage',
  ImageCutOff: 'damage',
  ImageEntryTooLarge: 'damage',
  ImageTooManyEntries: 'damage',
  ImageEmpty: 'damage',
  ImageVersion: 'damage',
  ProtobufInvalid: 'damage',
  ProtobufTooManyValues: 'damage',
  FieldMissing: 'damage',
  NumberTooLarge: 'damage',
  DuplicateProcess: 'damage',
  ProcessCycle: 'damage',
  NoRootProcess: 'damage',
  MissingParent: 'note',
  StaleImages: 'note',
  MemoryDisagrees: 'note',
  PagesCompressed: 'note',
  PageCompressionUnsupported: 'note',
} as const satisfies Readonly<Record<string, ProblemWeight>>

/** Stable names of the problems found in CRIU's images. */
export type ImageProblemCode = keyof typeof WEIGHTS

export const IMAGE_PROBLEM_CODES = Object.keys(WEIGHTS) as readonly ImageProblemCode[]

export function imageProblem(code: ImageProblemCode, detail: string): Problem {
  return { code, weight: WEIGHTS[code], detail }
}

/** Creates an error for a problem that makes the rest of the image unreadable. */
export function imageError(code: ImageProblemCode, detail: string): ProblemError {
  return new ProblemError(imageProblem(code, detail))
}
