import { z } from 'zod'

/**
 * Schema of the certain facts about an archive of this agent. They are stored only in the archive's entry of the
 * custody log.
 */
export const captureFactsShape = z.object({
  job: z.string(),
  identity: z.object({
    namespace: z.string(),
    pod: z.string(),
    podUid: z.string(),
    container: z.string(),
    containerId: z.string(),
  }),
  reason: z.string().optional(),
  inode: z.int(),
  modifiedAt: z.iso.datetime(),
  takenAt: z.iso.datetime(),
  image: z.string().optional(),
  imageReference: z.string().optional(),
  podLabels: z.record(z.string(), z.string()).optional(),
  /** Duration of the runtime's dump in milliseconds. */
  dumpMillis: z.int().nonnegative().optional(),
  place: z.object({
    kernel: z.string(),
    architecture: z.string(),
    cpuModel: z.string(),
    runtime: z.string().optional(),
  }),
})

export type CaptureFacts = z.infer<typeof captureFactsShape>

/** Parses the detail of an entry. Returns undefined if it has no capture facts. */
export function captureFacts(detail: unknown): CaptureFacts | undefined {
  return captureFactsShape.safeParse(detail).data
}
