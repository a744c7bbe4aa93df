import { z } from 'zod'
import { bytes, containerIdentity, time } from './common-schemas.ts'

export const runningContainerResponse = z.object({
  identity: containerIdentity,
  containerId: z.string(),
  image: z.string(),
  startedAt: time.optional(),
  memoryBytes: bytes.optional(),
  writableLayerBytes: bytes.optional(),
  lastCheckpoint: z.object({ id: z.string(), takenAt: time }).optional(),
  captureInFlight: z.string().optional().describe('The id of the job'),
})

export const runningContainerList = z.object({ items: z.array(runningContainerResponse) })

export type RunningContainerResponse = z.infer<typeof runningContainerResponse>
export type RunningContainerList = z.infer<typeof runningContainerList>
