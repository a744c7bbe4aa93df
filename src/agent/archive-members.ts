import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { descriptorSource } from '../archive/byte-source.ts'
import { listMembers } from '../archive/member-list.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Problem } from '../checkpoint/problem.ts'
import { ConflictError, isSystemError } from '../shared/errors.ts'
import { pathOf } from './archive-file.ts'
import { generationOf } from './file-generation.ts'

export interface MemberPage {
  readonly members: readonly {
    readonly name: string
    readonly type: string
    readonly sizeBytes: number
    readonly offset: number
    readonly modifiedSeconds: number
    readonly modifiedNanos: number
    readonly linkName?: string
  }[]
  readonly remaining: number
  readonly problems: readonly Problem[]
}

export interface MemberPageOptions {
  readonly directory: string
  readonly skip: number
  readonly limit: number
  readonly signal: AbortSignal
}

/** The members of an archive, straight from it. Throws ConflictError when the file is not the one of the index any more. */
export async function listArchiveMembers(
  { id, rawName, generation }: Checkpoint,
  { directory, skip, limit, signal }: MemberPageOptions,
): Promise<MemberPage> {
  let descriptor: number
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    descriptor = openSync(pathOf(directory, rawName), flags)
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ELOOP')) throw changed(id)
    throw error
  }
  try {
    const stat = fstatSync(descriptor, { bigint: true })
    if (!stat.isFile() || generationOf(stat) !== generation) throw changed(id)
    return await listMembers(descriptorSource(descriptor, Number(stat.size)), { skip, limit, signal })
  } finally {
    closeSync(descriptor)
  }
}

function changed(id: string): ConflictError {
  return new ConflictError(`Cannot read checkpoint "${id}": its file was replaced or removed a moment ago`, {
    code: 'CheckpointChanged',
    hint: 'Read the checkpoint again, and ask anew.',
  })
}
