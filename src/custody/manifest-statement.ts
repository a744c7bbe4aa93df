import { z } from 'zod'

/** Payload type of a manifest. */
export const STATEMENT_TYPE = 'application/vnd.in-toto+json'

/** Predicate type, described in docs/concepts/custody.md. */
export const PREDICATE_TYPE = 'https://checkpoint-agent.dev/attestation/checkpoint/v1'

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const text = z.string().max(4_096)

const statement = z.object({
  subject: z.array(z.object({ name: text, digest: z.object({ sha256 }) })).length(1),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: z.object({
    checkpoint: z.object({
      id: text,
      sizeBytes: z.int().nonnegative(),
      identity: z
        .object({ namespace: text, pod: text, podUid: text, container: text, containerId: text, source: text })
        .partial(),
    }),
    takenAt: text.optional(),
    node: z.object({ name: text }),
    custodyHead: z.object({ seq: z.int().nonnegative(), hash: sha256 }).optional(),
    signedAt: text.optional(),
  }),
})

/** The claims of a manifest about its archive, whether or not its signature is valid. */
export interface ManifestStatement {
  readonly fileName: string
  readonly sha256: string
  readonly checkpointId: string
  readonly sizeBytes: number
  readonly identity: Readonly<Record<string, string | undefined>>
  readonly node: string
  readonly takenAt: string | undefined
  readonly signedAt: string | undefined
  readonly custodyHead: { readonly seq: number; readonly hash: string } | undefined
}

/** Parses a statement; undefined if it is not about a checkpoint. */
export function readStatement(payload: Buffer): ManifestStatement | undefined {
  const found = statement.safeParse(parse(payload.toString('utf8'))).data
  const [subject] = found?.subject ?? []
  if (found === undefined || subject === undefined) return undefined
  const { checkpoint, node, takenAt, signedAt, custodyHead } = found.predicate
  return {
    fileName: subject.name,
    sha256: subject.digest.sha256,
    checkpointId: checkpoint.id,
    sizeBytes: checkpoint.sizeBytes,
    identity: checkpoint.identity,
    node: node.name,
    takenAt,
    signedAt,
    custodyHead,
  }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
