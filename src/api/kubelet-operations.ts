import { z } from 'zod'
import { kubeletResult } from './kubelet-schemas.ts'
import { defineOperations } from './operation.ts'

export const kubeletOperations = defineOperations('kubelet', {
  kubeletCheckpoint: {
    method: 'post',
    path: '/checkpoint/{namespace}/{pod}/{container}',
    summary: "Take a checkpoint through the kubelet's endpoint",
    permission: { kind: 'kubelet' },
    description:
      'Takes a checkpoint and waits for it. Status, text and media type are those of the kubelet. `timeout` is in seconds: ' +
      'the last one applies, and one below the configured minimum is raised to it. It ends the wait, not the capture.',
    query: z.object({ timeout: z.string().optional() }),
    answers: {
      200: { description: 'The archive is in place', schema: kubeletResult },
      307: { description: 'The path is not canonical', headers: ['Location'] },
      400: { description: 'The path cannot be decoded', mediaType: 'text/plain' },
      401: { description: 'The request has no valid credentials', mediaType: 'text/plain' },
      403: { description: 'The caller may not do this', mediaType: 'text/plain' },
      404: { description: 'No such pod or container, or a timeout that is not a number', mediaType: 'text/plain' },
      406: { description: 'The caller does not accept JSON', mediaType: 'text/plain' },
      500: {
        description:
          "The checkpoint failed, the wait ended, or the API server cannot be asked for the caller's permissions",
        mediaType: 'text/plain',
      },
    },
  },
})
