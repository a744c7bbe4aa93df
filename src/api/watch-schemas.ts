import { z } from 'zod'
import { captureJobResponse } from './capture-schemas.ts'
import { checkpointResponse } from './checkpoint-schemas.ts'

/** The data of each type of event of `GET /v1/watch`. */
export const watchEventData = {
  added: checkpointResponse,
  changed: checkpointResponse,
  removed: z.object({ id: z.string(), state: z.literal('gone') }),
  capture: captureJobResponse,
  resync: z.object({}),
} as const
