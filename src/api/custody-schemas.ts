import { z } from 'zod'
import { bytes, count, pageLimit, time, wholeNumber } from './common-schemas.ts'

const sha256Text = z.string().regex(/^[0-9a-f]{64}$/)

export const custodyQuery = z.strictObject({
  checkpoint: z.string().min(1).optional().describe('Only entries about the checkpoint with this id'),
  after: wholeNumber().default(0).describe('Only entries after this sequence number'),
  limit: pageLimit,
})

export const custodyExportQuery = custodyQuery.pick({ after: true })

export const custodyVerifyQuery = z.strictObject({
  head: z
    .string()
    .regex(/^\d{1,15}:[0-9a-f]{64}$/, 'must be the number of an entry and its hash, as in "17:ab12…"')
    .transform((text) => ({ seq: Number.parseInt(text, 10), hash: text.slice(text.indexOf(':') + 1) }))
    .optional()
    .describe('A head that you stored elsewhere, as `seq:hash`'),
})

export const custodyEntry = z.object({
  seq: count,
  time,
  node: z.string(),
  actor: z.object({
    user: z.string(),
    groups: z.array(z.string()),
    address: z.string().optional(),
    requestId: z.string().optional(),
  }),
  action: z.string().describe('Such as "capture", "content", "delete" or "tampering"; later versions may add more'),
  checkpoint: z
    .object({
      id: z.string(),
      fileName: z.string(),
      sizeBytes: bytes.optional(),
      sha256: z.string().optional(),
    })
    .optional(),
  detail: z.record(z.string(), z.unknown()).optional(),
  outcome: z.string().describe('"intended" is recorded before an action; a later entry records how the action ended'),
  previous: z.string().describe('The hash of the previous entry'),
  hash: z.string(),
})

export const custodyPage = z.object({
  items: z.array(custodyEntry).describe('In the order of the log'),
  continue: z.string().optional().describe('Pass it as `after` to get the next page; absent on the last page'),
})

const chainEnd = z.object({ seq: count, hash: sha256Text })

export const custodyReport = z.object({
  verdict: z
    .enum(['authentic', 'not-authenticated', 'broken'])
    .describe('"authentic": a head signed by the agent\'s key covers every entry'),
  sound: z.boolean().describe('Whether the verdict is "authentic"'),
  notChecked: z.array(z.string()).describe('Why the verdict is "not-authenticated"'),
  problems: z.array(
    z.object({ code: z.string(), file: z.string().optional(), line: count.optional(), detail: z.string() }),
  ),
  problemCount: count.describe('The number of all problems; the first hundred are listed'),
  files: count,
  entries: count,
  first: chainEnd.optional(),
  last: chainEnd.optional(),
  head: chainEnd.optional().describe('The head that the end was compared with'),
  authenticatedSeq: count.optional().describe('The last entry that a signed head covers'),
  keyId: z.string().optional().describe('The key that signed the head: compare it with the one you pinned'),
})

export const dsseEnvelope = z.object({
  payloadType: z.string(),
  payload: z.string().describe('Base64'),
  signatures: z.array(z.object({ keyid: z.string(), sig: z.string().describe('Base64') })),
})

export type CustodyPageResponse = z.infer<typeof custodyPage>
export type CustodyReportResponse = z.infer<typeof custodyReport>
export type CustodyEntryResponse = z.infer<typeof custodyEntry>
export type DsseEnvelope = z.infer<typeof dsseEnvelope>
