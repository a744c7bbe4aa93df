import { z } from 'zod'
import { healthResponse, readinessResponse } from './agent-schemas.ts'
import {
  captureError,
  captureJobList,
  captureJobResponse,
  captureRequest,
  captureResult,
  containerCaptureResponse,
} from './capture-schemas.ts'
import { checkpointList, checkpointProblem, checkpointResponse } from './checkpoint-schemas.ts'
import { containerIdentity } from './common-schemas.ts'
import { runningContainerList, runningContainerResponse } from './container-schemas.ts'
import { memberList, memberResponse, rootfsChange, rootfsDiffResponse } from './content-schemas.ts'
import { kubeletResult } from './kubelet-schemas.ts'
import { nodeResponse } from './node-schemas.ts'
import { problem } from './problem-schema.ts'
import {
  plannedArchive,
  retentionBlocked,
  retentionHistory,
  retentionPlan,
  retentionStatus,
  sweepReport,
} from './retention-schemas.ts'
import { TAGS, type Answer, type Operation } from './operation.ts'
import { operationList } from './operations.ts'

/** A piece of JSON Schema or OpenAPI that only clients take apart. */
type Json = Readonly<Record<string, unknown>>

/** Schemas with a name in the document, and so with a type in generated clients. */
const NAMED: Readonly<Record<string, z.ZodType>> = {
  CaptureError: captureError,
  CaptureJob: captureJobResponse,
  CaptureJobList: captureJobList,
  CaptureRequest: captureRequest,
  CaptureResult: captureResult,
  Checkpoint: checkpointResponse,
  CheckpointList: checkpointList,
  CheckpointProblem: checkpointProblem,
  ContainerCapture: containerCaptureResponse,
  ContainerIdentity: containerIdentity,
  Health: healthResponse,
  RootfsChange: rootfsChange,
  RootfsDiff: rootfsDiffResponse,
  KubeletResult: kubeletResult,
  Member: memberResponse,
  MemberList: memberList,
  Node: nodeResponse,
  PlannedArchive: plannedArchive,
  Problem: problem,
  Readiness: readinessResponse,
  Retention: retentionStatus,
  RetentionBlocked: retentionBlocked,
  RetentionPlan: retentionPlan,
  SweepHistory: retentionHistory,
  SweepReport: sweepReport,
  RunningContainer: runningContainerResponse,
  RunningContainerList: runningContainerList,
}

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Disposition': 'A file name without colons',
  'Content-Range': 'The part of the content that this is, and its whole size',
  'Repr-Digest': 'The SHA-256 of the whole archive (RFC 9530), once it is known; in a plain answer only',
  'X-Archive-Sha256': 'The SHA-256 of the plain archive, in hexadecimal, once it is known',
  'X-Archive-State': 'The state of the archive',
  ETag: 'The state of the checkpoint that this answer shows, for `If-None-Match`',
  Location: 'Where the job is',
  'Preference-Applied': 'The preference that was followed',
}

/** Described in docs/concepts/access.md. With `server.auth.mode` `none`, and on the unix socket, no credentials are needed. */
const SECURITY_SCHEMES: Json = {
  token: { type: 'http', scheme: 'bearer', description: 'A token of the cluster or of the tokens file' },
  certificate: { type: 'mutualTLS', description: 'A client certificate of the cluster' },
}

/** Builds the OpenAPI 3.1 document of this API from the schemas that check its requests. */
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
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths: Object.fromEntries(
      [...new Set(operationList.map(({ path }) => path))].map((path) => [
        path,
        Object.fromEntries(
          operationList
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
  const { id, tag, summary, description, body, isBodyOptional = false, permission } = operation
  return {
    operationId: id,
    tags: [tag],
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

/** Refers to schemas that have a name. */
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

/** Drops a pattern of 300 characters that adds nothing to the format. */
function dropDatePattern({ jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
}

/** Adds the default of a parameter that is transformed: zod leaves it out. */
function tidyParameter(context: {
  readonly zodSchema: unknown
  readonly jsonSchema: z.core.JSONSchema.BaseSchema
}): void {
  const { zodSchema } = context
  if (zodSchema instanceof z.ZodDefault) context.jsonSchema.default = zodSchema.def.defaultValue
  dropDatePattern(context)
}

/** Drops the keywords that belong to a document of its own. */
function withoutNoise(schema: object): Json {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '$id'))
}

function componentUri(name: string): string {
  return `#/components/schemas/${name}`
}
