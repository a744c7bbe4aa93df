import { z } from 'zod'
import * as api from './api-types.ts'
import * as captures from './capture-api-types.ts'
import * as checkpoints from './checkpoint-api-types.ts'
import * as contents from './content-api-types.ts'
import * as nodes from './node-api-types.ts'
import * as retention from './retention-api-types.ts'
import { operations, type Answer, type Operation } from './openapi-operations.ts'

/** A piece of JSON Schema or OpenAPI; nobody takes it apart but the clients. */
type Json = Readonly<Record<string, unknown>>

/** The schemas that get a name of their own in the document, and so a type of their own in generated clients. */
const NAMED: Readonly<Record<string, z.ZodType>> = {
  CaptureError: captures.captureError,
  CaptureJob: captures.captureJobResponse,
  CaptureJobList: captures.captureJobList,
  CaptureRequest: captures.captureRequest,
  CaptureResult: captures.captureResult,
  Checkpoint: checkpoints.checkpointResponse,
  CheckpointList: checkpoints.checkpointList,
  CheckpointProblem: checkpoints.checkpointProblem,
  ContainerCapture: captures.containerCaptureResponse,
  ContainerIdentity: api.containerIdentity,
  Health: nodes.healthResponse,
  RootfsChange: contents.rootfsChange,
  RootfsDiff: contents.rootfsDiffResponse,
  KubeletResult: captures.kubeletResult,
  Member: contents.memberResponse,
  MemberList: contents.memberList,
  Node: nodes.nodeResponse,
  PlannedArchive: retention.plannedArchive,
  Problem: api.problem,
  Readiness: nodes.readinessResponse,
  Retention: retention.retentionStatus,
  RetentionBlocked: retention.retentionBlocked,
  RetentionPlan: retention.retentionPlan,
  SweepHistory: retention.retentionHistory,
  SweepReport: retention.sweepReport,
  RunningContainer: nodes.runningContainerResponse,
  RunningContainerList: nodes.runningContainerList,
}

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Disposition': 'A name to save it under, without colons',
  'Content-Range': 'Which part of the content this is, and of how much',
  'Repr-Digest': 'The SHA-256 of the whole archive (RFC 9530), once it is known; of a plain answer only',
  'X-Archive-Sha256': 'The SHA-256 of the plain archive, in hexadecimal, once it is known',
  'X-Archive-State': 'The state of the archive',
  ETag: 'The state of the checkpoint that this answer shows, for `If-None-Match`',
  Location: 'Where the job is',
  'Preference-Applied': 'The preference that was followed',
}

/** docs/concepts/access.md. Where `server.auth.mode` is `none`, and on the unix socket, none of them is asked for. */
const SECURITY_SCHEMES: Json = {
  token: { type: 'http', scheme: 'bearer', description: 'A token of the cluster, or of the file of tokens' },
  certificate: { type: 'mutualTLS', description: 'A client certificate of the cluster' },
}

/** The OpenAPI 3.1 document of this API, made of the schemas that check its requests. */
export function openApiDocument(): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'checkpoint-agent',
      version: 'v1',
      description: 'Takes container checkpoints on one node of a Kubernetes cluster.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths: Object.fromEntries(
      [...new Set(operations.map(({ path }) => path))].map((path) => [
        path,
        Object.fromEntries(
          operations
            .filter((operation) => operation.path === path)
            .map((operation) => [operation.method, toOperationObject(operation)]),
        ),
      ]),
    ),
    security: [{ token: [] }, { certificate: [] }],
    components: { schemas: componentSchemas(), securitySchemes: SECURITY_SCHEMES },
  }
}

function toOperationObject(operation: Operation): Json {
  const { id, summary, description, body, isBodyOptional = false, permission } = operation
  return {
    operationId: id,
    summary,
    ...(description !== undefined && { description }),
    ...(permission.kind === 'open' && { security: [] }),
    parameters: [...pathParameters(operation), ...queryParameters(operation), ...headerParameters(operation)],
    ...(body !== undefined && {
      requestBody: { required: !isBodyOptional, content: { 'application/json': { schema: toSchema(body) } } },
    }),
    responses: Object.fromEntries(
      Object.entries(operation.answers).map(([status, answer]) => [status, toResponseObject(answer)]),
    ),
  }
}

function toResponseObject({ description, schema, mediaType, otherMediaTypes = [], headers = [] }: Answer): Json {
  const shown = { 'X-Request-Id': textHeader('The id of this request in the log'), ...namedHeaders(headers) }
  if (schema === undefined && mediaType === undefined) return { description, headers: shown }
  const shape = { schema: schema === undefined ? { type: 'string' } : toSchema(schema) }
  const types = [mediaType ?? 'application/json', ...otherMediaTypes]
  const content = Object.fromEntries(types.map((type) => [type, shape]))
  return { description, headers: shown, content }
}

function namedHeaders(names: readonly string[]): Json {
  return Object.fromEntries(names.map((name) => [name, textHeader(HEADERS[name] ?? name)]))
}

function textHeader(description: string): Json {
  return { description, schema: { type: 'string' } }
}

function pathParameters({ path }: Operation): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => {
    return { name, in: 'path', required: true, schema: { type: 'string' } }
  })
}

function queryParameters({ query }: Operation): Json[] {
  return Object.entries(query?.shape ?? {}).map(([name, schema]) => {
    const { description, ...json } = withoutNoise(z.toJSONSchema(schema, { io: 'input', override: tidyParameter }))
    return { name, in: 'query', required: false, ...(description !== undefined && { description }), schema: json }
  })
}

function headerParameters({ headers = [] }: Operation): Json[] {
  return headers.map(({ name, description }) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
  }))
}

/** A reference where the schema has a name. */
function toSchema(schema: z.ZodType): Json {
  const name = Object.keys(NAMED).find((key) => NAMED[key] === schema)
  return name === undefined ? withoutNoise(z.toJSONSchema(schema, { io: 'input' })) : { $ref: componentUri(name) }
}

function componentSchemas(): Json {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of Object.entries(NAMED)) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, {
    io: 'input',
    uri: componentUri,
    override: dropDatePattern,
  })
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withoutNoise(schema)]))
}

/** It is 300 characters that say no more than the format does. */
function dropDatePattern({ jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
}

/** Zod leaves out what stands for an absent text that is made a number. */
function tidyParameter(context: {
  readonly zodSchema: unknown
  readonly jsonSchema: z.core.JSONSchema.BaseSchema
}): void {
  const { zodSchema } = context
  if (zodSchema instanceof z.ZodDefault) context.jsonSchema.default = zodSchema.def.defaultValue
  dropDatePattern(context)
}

/** What is right for a schema that stands alone, and wrong inside a document that says it once. */
function withoutNoise(schema: object): Json {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '$id'))
}

function componentUri(name: string): string {
  return `#/components/schemas/${name}`
}
