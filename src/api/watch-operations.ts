import { namespaceQuery } from './checkpoint-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const watchOperations = defineOperations('watch', {
  watch: {
    method: 'get',
    path: '/v1/watch',
    summary: 'What happens to checkpoints and captures, as it happens',
    permission: { kind: 'rows', verb: 'list' },
    description:
      'Server-sent events that go on until one side ends them: `added` and `changed` with the checkpoint, `removed` with ' +
      '`{"id", "state": "gone"}`, `capture` with a capture job each time its state changes and twice a second while it is being written, and `resync` with `{}` where events were lost and the list has to be read anew.',
    query: namespaceQuery,
    headers: [
      { name: 'Last-Event-ID', description: 'The `id` of the last event that was seen: those after it come first' },
    ],
    answers: {
      200: { description: 'The events', mediaType: 'text/event-stream' },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
})
