import { nodeResponse } from './node-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const nodeOperations = defineOperations('node', {
  getNode: {
    method: 'get',
    path: '/v1/node',
    summary: 'Get the state of this node',
    permission: { kind: 'authenticated' },
    answers: { 200: { description: 'The node', schema: nodeResponse }, ...problems(...READ_PROBLEMS) },
  },
})
