import { namespaceQuery } from './checkpoint-schemas.ts'
import { runningContainerList } from './container-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const containerOperations = defineOperations('containers', {
  listContainers: {
    method: 'get',
    path: '/v1/containers',
    summary: 'List the running containers of this node',
    permission: { kind: 'rows', verb: 'list' },
    query: namespaceQuery,
    answers: {
      200: { description: 'The containers', schema: runningContainerList },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
})
