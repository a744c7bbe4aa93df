import { z } from 'zod'

/** What is known for certain of an archive that we took: it stands in its entry of the custody log, and nowhere else. */
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
  /** How long the runtime took for the dump. */
  dumpMillis: z.int().nonnegative().optional(),
  place: z.object({
    kernel: z.string(),
    architecture: z.string(),
    cpuModel: z.string(),
    runtime: z.string().optional(),
  }),
})

export type CaptureFacts = z.infer<typeof captureFactsShape>

/** Undefined for what is none. */
export function captureFacts(detail: unknown): CaptureFacts | undefined {
  return captureFactsShape.safeParse(detail).data
}
