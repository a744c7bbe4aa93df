import express from 'express'
import request from 'supertest'
import { describe, expect, it } from 'vitest'
import { problem } from '../../src/api/problem-schema.ts'
import { CaptureFailedError, errorHandler } from '../../src/http/error-handler.ts'
import {
  ConflictError,
  InvalidInputError,
  NotAllowedError,
  NotFoundError,
  OutOfSpaceError,
  RuntimeFailureError,
  UnavailableError,
} from '../../src/shared/errors.ts'
import { call } from './api-call.ts'
import { recordingLogger, startApp } from './http-services.ts'
import { rawRequest } from './raw-request.ts'

describe('errorHandler', () => {
  it.each([
    { type: InvalidInputError, code: 'X', status: 400, title: 'Bad Request' },
    { type: NotAllowedError, code: 'X', status: 403, title: 'Forbidden' },
    { type: NotFoundError, code: 'X', status: 404, title: 'Not Found' },
    { type: ConflictError, code: 'X', status: 409, title: 'Conflict' },
    { type: RuntimeFailureError, code: 'X', status: 500, title: 'Internal Server Error' },
    { type: RuntimeFailureError, code: 'CheckpointNotImplemented', status: 501, title: 'Not Implemented' },
    { type: RuntimeFailureError, code: 'RuntimeUnavailable', status: 503, title: 'Service Unavailable' },
    { type: RuntimeFailureError, code: 'DiskFull', status: 507, title: 'Insufficient Storage' },
    { type: UnavailableError, code: 'X', status: 503, title: 'Service Unavailable' },
    { type: OutOfSpaceError, code: 'X', status: 507, title: 'Insufficient Storage' },
    { type: CaptureFailedError, code: 'X', status: 500, title: 'Internal Server Error' },
  ])('answers $status to a $type.name with code $code', async ({ type, code, status, title }) => {
    const answer = await failWith(
      new type('Cannot do "it": why', {
        code,
        hint: 'Do that',
        runtimeMessage: 'said so',
        extra: { job: 'j', status: 200, code: 'no' },
      }),
    )
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.body).toEqual({
      type: `urn:checkpoint-agent:problem:${code}`,
      title,
      status,
      detail: 'Cannot do "it": why',
      code,
      hint: 'Do that',
      runtimeMessage: 'said so',
      job: 'j',
    })
    expect(problem.parse(answer.body)).toEqual(answer.body)
    expect(answer.headers).not.toHaveProperty('retry-after')
  })

  it('leaves out what an error does not carry', async () => {
    const answer = await failWith(new NotFoundError('no', { code: 'Gone' }))
    expect(Object.keys(answer.body as object).toSorted()).toEqual(['code', 'detail', 'status', 'title', 'type'])
  })

  it.each([
    new TypeError('secret in /etc/shadow'),
    Object.assign(new Error('secret'), { status: 404, expose: true }),
    'secret',
  ])('keeps %j to the log', async (thrown) => {
    const logger = recordingLogger()
    const answer = await failWith(thrown, logger)
    expect(answer.body).toMatchObject({ status: 500, code: 'InternalError' })
    expect(answer.text).not.toContain('secret')
    expect(logger.lines).toEqual([
      expect.objectContaining({ level: 'error', fields: expect.objectContaining({ err: thrown }) as object }),
    ])
  })

  it.each(['GET /nothing', 'POST /v1', 'GET /v1/node/', 'GET /V1/node', 'GET /v1/captures/a/b', 'DELETE /'])(
    'knows no route for %s',
    async (methodAndPath) => {
      const answer = await call({}, methodAndPath)
      expect(answer.body).toMatchObject({ status: 404, code: 'RouteNotFound' })
    },
  )

  it.each([
    { route: 'POST /v1/node', allow: 'GET, HEAD' },
    { route: 'DELETE /v1/captures', allow: 'GET, HEAD, POST' },
    { route: 'PUT /v1/captures', allow: 'GET, HEAD, POST' },
    { route: 'OPTIONS /v1/captures/x', allow: 'GET, HEAD, DELETE' },
    { route: 'POST /healthz', allow: 'GET, HEAD' },
  ])('tells $route what is allowed', async ({ route, allow }) => {
    const [method = '', path = ''] = route.split(' ')
    const answer = await rawRequest(await startApp(), { method, path })
    expect(answer.status).toBe(405)
    expect(answer.headers['allow']).toBe(allow)
    expect(problem.parse(JSON.parse(answer.body))).toMatchObject({ status: 405, code: 'MethodNotAllowed' })
  })

  it.each(['/v1/node/../x', '//v1/node', '/%zz', '/v1/%ff', 'http://node-a/nothing', '*', '/a#b'])(
    'answers the odd target %s as a problem',
    async (path) => {
      const method = path === '*' ? 'OPTIONS' : 'GET'
      const answer = await rawRequest(await startApp(), { method, path })
      expect([400, 404]).toContain(answer.status)
      expect(problem.parse(JSON.parse(answer.body)).status).toBe(answer.status)
      expect(answer.headers['x-request-id']).toBeTruthy()
    },
  )

  it.each(['/healthz', '/nothing'])('gives HEAD %s the length of the body', async (path) => {
    const port = await startApp()
    const get = await rawRequest(port, { method: 'GET', path })
    const head = await rawRequest(port, { method: 'HEAD', path })
    expect(head).toMatchObject({ status: get.status, body: '' })
    const [getLength, headLength] = [get.headers['content-length'], head.headers['content-length']]
    expect(Number(getLength)).toBe(Buffer.byteLength(get.body))
    // The detail of the problem names the method.
    expect(Number(headLength) - Number(getLength)).toBeLessThanOrEqual(1)
  })
})

function failWith(thrown: unknown, logger = recordingLogger()) {
  const app = express()
  app.use((_req, _res, next) => next(thrown))
  app.use(errorHandler(logger))
  return request(app).get('/')
}
