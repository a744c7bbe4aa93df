import { accessQuery, accessResponse } from './access-schemas.ts'
import { defineOperations, problems } from './operation.ts'

export const accessOperations = defineOperations('access', {
  getAccess: {
    method: 'get',
    path: '/v1/access',
    summary: 'Get the permissions of the caller',
    description: 'Covers the given namespace, or all namespaces without one, and this node as a whole.',
    permission: { kind: 'authenticated' },
    counts: ['access'],
    query: accessQuery,
    answers: {
      200: { description: 'The permissions', schema: accessResponse },
      ...problems(400, 401, 429, 500, 503),
    },
  },
})
