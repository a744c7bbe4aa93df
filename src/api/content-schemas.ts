import { z } from 'zod'
import { bytes, count, nextPage, page, time } from './common-schemas.ts'
import { checkpointProblem } from './checkpoint-schemas.ts'

export const memberResponse = z.object({
  name: z.string().describe('Without `./` in front and slash behind'),
  type: z
    .string()
    .describe(
      '"file", "directory", "hard-link", "symbolic-link", "character-device", "block-device", "fifo" or "unknown"',
    ),
  sizeBytes: bytes,
  offset: bytes.describe('Where its content begins in the archive, unpacked if that is compressed'),
  modifiedAt: time.optional(),
  linkName: z.string().optional().describe('Where a link leads'),
})

export const memberList = z.object({
  items: z.array(memberResponse).describe('In the order of the archive, those whose content is all there'),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
  problems: z.array(checkpointProblem).describe('What the reading of the whole archive found'),
})

export const rootfsChange = z.object({
  path: z.string().describe('In the container'),
  change: z
    .enum(['added-or-changed', 'changed', 'deleted', 'emptied'])
    .describe('"emptied": all that was in this folder before is gone'),
  type: z.string().optional().describe('Of what is there now, as in the list of members'),
  sizeBytes: bytes.optional(),
  modifiedAt: time.optional(),
  linkName: z.string().optional().describe('Where a link leads'),
})

export const rootfsDiffResponse = z.object({
  items: z.array(rootfsChange).describe('In the order of the archive'),
  present: z.boolean().describe('Whether the archive has a diff at all'),
  atLeast: z.boolean().describe('There may be changes that the archive does not hold'),
  continue: nextPage,
  remaining: count.describe('How many follow after this page'),
  problems: z.array(checkpointProblem).describe('What the reading found'),
})

export const memberListQuery = z.strictObject(page)

const incomplete = z.enum(['true', 'false']).optional().describe('Also of an archive that is not whole')

export const contentQuery = z.strictObject({
  recipient: z.array(z.string()).default([]).describe('Encrypt to this age recipient; may be given more than once'),
  incomplete,
})

export const rootfsDiffQuery = z.strictObject({ ...page, incomplete })

export type MemberResponse = z.infer<typeof memberResponse>
export type MemberList = z.infer<typeof memberList>
export type RootfsDiffResponse = z.infer<typeof rootfsDiffResponse>
export type RootfsChangeResponse = z.infer<typeof rootfsChange>
