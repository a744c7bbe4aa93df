import express, { type Request, type RequestHandler } from 'express'
import type { z } from 'zod'
import { InvalidInputError } from '../shared/errors.ts'
import { escapeUnreadable } from '../shared/readable-text.ts'

/** A fault in a request; an error lists all of them. */
interface InputProblem {
  readonly name: string
  readonly reason: string
}

/**
 * Parses the query by the schema; repeatable parameters become lists. Throws InvalidInputError that names every invalid
 * or unknown parameter.
 */
export function readQuery<Schema extends z.ZodType>(
  req: Request,
  schema: Schema,
  repeatable: readonly string[] = [],
): z.infer<Schema> {
  const mark = req.url.indexOf('?')
  const values = Object.create(null) as Record<string, string | string[]>
  const problems: InputProblem[] = []
  for (const pair of mark === -1 ? [] : req.url.slice(mark + 1).split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decode(equals === -1 ? pair : pair.slice(0, equals))
    const value = decode(equals === -1 ? '' : pair.slice(equals + 1))
    if (repeatable.includes(name)) {
      const before = values[name]
      values[name] = Array.isArray(before) ? [...before, value] : [value]
      continue
    }
    if (name in values) problems.push({ name, reason: 'must be given once' })
    values[name] = value
  }
  return check('query', { ...values }, schema, problems)
}

/** Parses the body by the schema. Throws InvalidInputError that names every invalid or unknown field. */
export function readBody<Schema extends z.ZodType>(req: Request, schema: Schema): z.infer<Schema> {
  return check('body', req.body as unknown, schema, [])
}

/** Body size limit, far above the size of any valid request. */
const MAX_BODY = '64kb'

/**
 * Parses a JSON body and rejects other media types. Any web page can make a browser send those to an agent on the
 * loopback address, but not JSON.
 */
export function jsonBody(): RequestHandler {
  const parse = express.json({ limit: MAX_BODY, strict: false, inflate: false })
  return (req, res, next) => {
    if (req.is('application/json') !== 'application/json') {
      throw new InvalidInputError(
        `Cannot read the request body: its media type is "${req.get('content-type') ?? ''}", not "application/json"`,
        { code: 'UnsupportedMediaType', hint: 'Send a JSON body with "Content-Type: application/json".' },
      )
    }
    parse(req, res, next)
  }
}

/** Accepts a JSON body or none. */
export function optionalJsonBody(): RequestHandler {
  const parse = jsonBody()
  return (req, res, next) => {
    const hasBody = req.get('transfer-encoding') !== undefined || Number(req.get('content-length') ?? 0) > 0
    if (hasBody) {
      parse(req, res, next)
      return
    }
    req.body = {}
    next()
  }
}

function check<Schema extends z.ZodType>(
  place: 'query' | 'body',
  value: unknown,
  schema: Schema,
  before: readonly InputProblem[],
): z.infer<Schema> {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success && before.length === 0) return result.data
  const problems = [...before, ...(result.error?.issues ?? []).flatMap((issue) => problemsOf(issue, place))].map(
    ({ name, reason }) => ({ name: escapeUnreadable(name), reason }),
  )
  const listed = problems.map(({ name, reason }) => (name === '' ? reason : `"${name}" ${reason}`)).join('; ')
  throw new InvalidInputError(`Cannot read the request ${place}: ${listed}`, {
    code: 'InvalidRequest',
    hint: 'GET /openapi.json says what each route takes.',
    extra: { problems: problems.map(({ name, reason }) => ({ in: place, name, reason })) },
  })
}

function problemsOf(issue: z.core.$ZodIssue, place: 'query' | 'body'): InputProblem[] {
  const unknown = place === 'query' ? 'is not a parameter of this route' : 'is not a field of this request'
  if (issue.code === 'unrecognized_keys') return issue.keys.map((name) => ({ name, reason: unknown }))
  return [{ name: issue.path.join('.'), reason: reasonOf(issue) }]
}

function reasonOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') {
    if (issue.path.length === 0) return 'it must be a JSON object'
    return issue.input === undefined ? 'is missing' : `must be ${withArticle(issue.expected)}`
  }
  if (issue.code === 'too_small') {
    return issue.origin === 'string' ? 'must not be empty' : `must be at least ${String(issue.minimum)}`
  }
  if (issue.code === 'too_big') {
    return `must be at most ${String(issue.maximum)}${issue.origin === 'string' ? ' characters' : ''}`
  }
  if (issue.code === 'invalid_value') {
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`
  }
  return issue.message
}

function withArticle(type: string): string {
  if (type === 'int') return 'a whole number'
  return type === 'object' || type === 'array' ? `an ${type}` : `a ${type}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw new InvalidInputError(`Cannot read the request query: "${text}" is no percent-encoded UTF-8`, {
      code: 'InvalidRequest',
    })
  }
}
