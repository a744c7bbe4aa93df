import { namespaceQuery } from './checkpoint-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const watchOperations = defineOperations('watch', {
  watch: {
    method: 'get',
    path: '/v1/watch',
    summary: 'Watch checkpoints and captures',
    permission: { kind: 'rows', verb: 'list' },
    description:
      'Server-sent events until one side ends the stream: `added` and `changed` with the checkpoint, `removed` with ' +
      '`{"id", "state": "gone"}`, `capture` with a capture job each time its state changes and twice a second while its archive is written, and `resync` with `{}` when events were lost and the list must be read again.',
    query: namespaceQuery,
    headers: [
      { name: 'Last-Event-ID', description: 'The `id` of the last event received: events after it come first' },
    ],
    answers: {
      200: { description: 'The events', mediaType: 'text/event-stream' },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
})
