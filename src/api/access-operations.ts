import { accessQuery, accessResponse } from './access-schemas.ts'
import { defineOperations, problems } from './operation.ts'

export const accessOperations = defineOperations('access', {
  getAccess: {
    method: 'get',
    path: '/v1/access',
    summary: 'What the caller may do',
    description: 'In the namespace, or in all of them where none is named, and on this node as a whole.',
    permission: { kind: 'authenticated' },
    counts: ['access'],
    query: accessQuery,
    answers: {
      200: { description: 'Each permission', schema: accessResponse },
      ...problems(400, 401, 429, 500, 503),
    },
  },
})
