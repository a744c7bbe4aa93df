import { z } from 'zod'
import { kubeletResult } from './kubelet-schemas.ts'
import { defineOperations } from './operation.ts'

export const kubeletOperations = defineOperations('kubelet', {
  kubeletCheckpoint: {
    method: 'post',
    path: '/checkpoint/{namespace}/{pod}/{container}',
    summary: "The kubelet's endpoint",
    permission: { kind: 'kubelet' },
    description:
      'Takes a checkpoint and waits for it. Answers as the kubelet does, in status, text and media type. `timeout` is in ' +
      'seconds; the last one counts, and one below the configured minimum is raised to it. It ends the wait, not the capture.',
    query: z.object({ timeout: z.string().optional() }),
    answers: {
      200: { description: 'The archive is in place', schema: kubeletResult },
      307: { description: 'The path is not canonical', headers: ['Location'] },
      400: { description: 'The path cannot be decoded', mediaType: 'text/plain' },
      401: { description: 'Nobody knows who the caller is', mediaType: 'text/plain' },
      403: { description: 'The caller may not do this', mediaType: 'text/plain' },
      404: { description: 'No such pod or container, or a timeout that is no number', mediaType: 'text/plain' },
      406: { description: 'The caller accepts no JSON', mediaType: 'text/plain' },
      500: {
        description: 'The checkpoint failed, the wait is over, or nobody can be asked what the caller may do',
        mediaType: 'text/plain',
      },
    },
  },
})
