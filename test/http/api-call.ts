import request from 'supertest'
import { expect } from 'vitest'
import type { z } from 'zod'
import { problem } from '../../src/api/problem-schema.ts'
import type { Answer } from '../../src/api/operation.ts'
import { operationList } from '../../src/api/operations.ts'
import { testApp, type ServiceChanges } from './http-services.ts'

export interface ApiCall {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** One request to the API. Its answer must be one that the OpenAPI document promises, with no field beside it. */
export async function call(changes: ServiceChanges, methodAndPath: string, { headers = {}, body }: ApiCall = {}) {
  const [method = '', path = ''] = methodAndPath.split(' ')
  const verb = method.toLowerCase() as 'get' | 'post' | 'put' | 'delete'
  let sent = request(testApp(changes))[verb](path).set(headers)
  if (body !== undefined) sent = sent.send(typeof body === 'string' ? body : JSON.stringify(body))
  const answer = await sent
  const documented = expectDocumented(verb, path, answer)
  expect(answer.headers['x-request-id']).toBeTruthy()
  expect('etag' in answer.headers, 'an ETag where the document has one').toBe(
    documented?.headers?.includes('ETag') ?? false,
  )
  expect(answer.headers).not.toHaveProperty('x-powered-by')
  return answer
}

function expectDocumented(method: string, url: string, answer: request.Response): Answer | undefined {
  const path = url.split('?', 1)[0] ?? ''
  const operation = operationList.find((candidate) => {
    const pattern = new RegExp(`^${candidate.path.replace(/\{\w+\}/g, '[^/]+')}$`)
    return candidate.method === method && pattern.test(path)
  })
  const type = String(answer.headers['content-type'])
  // What no route of this method and path answers is a problem in any case.
  const documented = operation?.answers[answer.status]
  if (operation !== undefined) expect(documented, `${method} ${path} may answer ${String(answer.status)}`).toBeDefined()
  const schema = documented === undefined ? problem : documented.schema
  if (schema === undefined) return documented
  expect(type.split(';')[0]).toBe(
    documented === undefined ? 'application/problem+json' : (documented.mediaType ?? 'application/json'),
  )
  expectExactly(schema, JSON.parse(answer.text))
  if (schema === problem) expect(JSON.parse(answer.text)).toMatchObject({ status: answer.status })
  return documented
}

/** Parsing drops what the schema does not know, so an undeclared field makes a difference. */
export function expectExactly(schema: z.ZodType, body: unknown): void {
  expect(schema.parse(body)).toEqual(body)
}
