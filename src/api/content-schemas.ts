import { z } from 'zod'
import { bytes, count, nextPage, page, time } from './common-schemas.ts'
import { checkpointProblem } from './checkpoint-schemas.ts'

export const memberResponse = z.object({
  name: z.string().describe('Without a leading `./` and a trailing slash'),
  type: z
    .string()
    .describe(
      '"file", "directory", "hard-link", "symbolic-link", "character-device", "block-device", "fifo" or "unknown"',
    ),
  sizeBytes: bytes,
  offset: bytes.describe('Where the content begins in the archive, after decompression'),
  modifiedAt: time.optional(),
  linkName: z.string().optional().describe('The target of a link'),
})

export const memberList = z.object({
  items: z.array(memberResponse).describe('Members with complete content, in the order of the archive'),
  continue: nextPage,
  remaining: count.describe('The number of items after this page'),
  problems: z.array(checkpointProblem).describe('Problems found while reading the whole archive'),
})

export const rootfsChange = z.object({
  path: z.string().describe('The path in the container'),
  change: z
    .enum(['added-or-changed', 'changed', 'deleted', 'emptied'])
    .describe('"emptied": everything that was in this directory before is gone'),
  type: z.string().optional().describe('The type of what is there now, as in the list of members'),
  sizeBytes: bytes.optional(),
  modifiedAt: time.optional(),
  linkName: z.string().optional().describe('The target of a link'),
})

export const rootfsDiffResponse = z.object({
  items: z.array(rootfsChange).describe('In the order of the archive'),
  present: z.boolean().describe('Whether the archive has a diff'),
  atLeast: z.boolean().describe('Whether there may be changes that the archive does not record'),
  continue: nextPage,
  remaining: count.describe('The number of items after this page'),
  problems: z.array(checkpointProblem).describe('Problems found while reading'),
})

export const memberListQuery = z.strictObject(page)

const incomplete = z.enum(['true', 'false']).optional().describe('Accept an archive that is not whole')

export const contentQuery = z.strictObject({
  recipient: z.array(z.string()).default([]).describe('Encrypt to this age recipient; repeatable'),
  incomplete,
})

export const rootfsDiffQuery = z.strictObject({ ...page, incomplete })

export type MemberResponse = z.infer<typeof memberResponse>
export type MemberList = z.infer<typeof memberList>
export type RootfsDiffResponse = z.infer<typeof rootfsDiffResponse>
export type RootfsChangeResponse = z.infer<typeof rootfsChange>
