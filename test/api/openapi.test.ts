import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openApiDocument } from '../../src/api/openapi.ts'
import { call } from '../http/api-call.ts'
import { testApp } from '../http/http-services.ts'

interface Layer {
  readonly route?: { readonly path: string; readonly methods: Readonly<Record<string, boolean>> }
  readonly handle?: { readonly stack?: readonly Layer[] }
}

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>
  readonly security: readonly object[]
  readonly components: { readonly schemas: Readonly<Record<string, object>>; readonly securitySchemes: object }
}

interface OperationObject {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly schema: object }[]
  readonly requestBody?: { readonly required: boolean }
  readonly security?: readonly object[]
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly headers: object; readonly content?: object }>
  >
}

/** Served by a middleware before the router, so it is in no list of routes. */
const KUBELET_ROUTE = 'post /checkpoint/{namespace}/{pod}/{container}'

const document = JSON.parse(JSON.stringify(openApiDocument())) as Document
const operations = Object.entries(document.paths).flatMap(([path, methods]) => {
  return Object.entries(methods).map(([method, operation]) => ({ method, path, operation }))
})

describe('openApiDocument', () => {
  it('has every route of the app, and no other', () => {
    const { stack } = (testApp() as unknown as { router: { stack: readonly Layer[] } }).router
    const routes = routesOf(stack)
    expect(routes.length).toBeGreaterThan(5)
    expect(operations.map(({ method, path }) => `${method} ${path}`).toSorted()).toEqual(
      [...routes, KUBELET_ROUTE].toSorted(),
    )
  })

  it('is served as it is', async () => {
    const answer = await call({}, 'GET /openapi.json')
    expect(answer.body).toEqual(document)
    expect(document.openapi).toMatch(/^3\.1\./)
  })

  it('is in docs/openapi.json: "node --run openapi" writes it', () => {
    const path = join(import.meta.dirname, '../../docs/openapi.json')
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(document)
  })

  it('sorts every operation under one of its tags', () => {
    const { tags } = openApiDocument() as { readonly tags: readonly { readonly name: string }[] }
    const used = new Set(operations.flatMap(({ operation }) => operation.tags))
    expect([...used].toSorted()).toEqual(tags.map(({ name }) => name).toSorted())
    expect(operations.filter(({ operation }) => operation.tags.length !== 1)).toEqual([])
  })

  it('refers only to schemas that it has, and has none that nobody refers to', () => {
    const referred = new Set([...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map(([, ref]) => String(ref)))
    const known = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`)
    expect([...referred].toSorted()).toEqual(known.toSorted())
  })

  it('carries no keyword that is only right for a schema by itself', () => {
    expect(JSON.stringify(document)).not.toMatch(/"\$(schema|id|defs)"/)
  })

  it('gives every operation an id of its own', () => {
    const ids = operations.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it.each(operations)('describes $method $path whole', ({ path, operation }) => {
    const inPath = operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)
    expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
    for (const parameter of operation.parameters) expect(parameter.schema).toHaveProperty('type')
    expect(Object.keys(operation.responses).some((status) => status.startsWith('2'))).toBe(true)
    for (const response of Object.values(operation.responses)) {
      expect(response.description).not.toBe('')
      expect(response.headers).toHaveProperty('X-Request-Id')
    }
  })

  it('promises a problem for every error of /v1', () => {
    const errors = operations
      .filter(({ path }) => path.startsWith('/v1/'))
      .flatMap(({ operation }) => Object.entries(operation.responses).filter(([status]) => Number(status) >= 400))
    expect(errors.length).toBeGreaterThan(20)
    for (const [, { content }] of errors) {
      expect(content).toEqual({ 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } })
    }
  })

  it('lets clients see fields that are added later, and refuses unknown ones in requests', () => {
    const { CaptureRequest, CaptureJob, Node } = document.components.schemas
    expect(CaptureRequest).toMatchObject({ additionalProperties: false, required: ['namespace', 'pod'] })
    expect(CaptureJob).not.toHaveProperty('additionalProperties')
    expect(Node).not.toHaveProperty('additionalProperties')
  })

  it('says which requests need no body, and which no credentials', () => {
    const bodies = operations.flatMap(({ operation: { operationId, requestBody } }) =>
      requestBody?.required === false ? [operationId] : [],
    )
    expect(bodies.toSorted()).toEqual([
      'deleteCheckpoint',
      'pinCheckpoint',
      'planRetention',
      'sweep',
      'unpinCheckpoint',
      'verifyCheckpoint',
    ])
    const open = operations.flatMap(({ operation: { operationId, security } }) => (security ? [operationId] : []))
    expect(open.toSorted()).toEqual(['getHealth', 'getReadiness'])
    expect(document.security.flatMap((way) => Object.keys(way))).toEqual(
      Object.keys(document.components.securitySchemes),
    )
  })

  it('says what the list of captures takes', () => {
    const parameters = document.paths['/v1/captures']?.['get']?.parameters
    expect(parameters).toContainEqual({
      name: 'limit',
      in: 'query',
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    })
  })
})

/** `:id` as `{id}`; the handler for other methods is no route of its own. */
function routesOf(stack: readonly Layer[]): string[] {
  return stack.flatMap((layer) => [
    ...routesOf(layer.handle?.stack ?? []).filter(() => layer.route === undefined),
    ...(layer.route === undefined
      ? []
      : Object.keys(layer.route.methods)
          .filter((method) => method !== '_all')
          .map((method) => `${method} ${layer.route?.path.replace(/[:*](\w+)/g, '{$1}') ?? ''}`)),
  ])
}
