import { Router, type Request, type Response } from 'express'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { ConflictError, InvalidInputError } from '../shared/errors.ts'
import { contentQuery } from '../api/content-schemas.ts'
import { permittedCheckpoint } from './authorize.ts'
import { actorOf, presenceOf } from './caller.ts'
import { attachment } from './content-disposition.ts'
import { chooseCoding, type ContentCoding } from './content-negotiation.ts'
import { chooseRange } from './content-range.ts'
import { contentTags, type ContentTags } from './content-tags.ts'
import { readQuery } from './request-input.ts'
import { responseSink } from './response-sink.ts'
import type { ContentServices, OpenContent } from './content-services.ts'

/** Serves content for download: a whole archive or one member of it. */
export function contentRoutes(contents: Pick<ContentServices, 'openArchive' | 'openMember'>): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/checkpoints/:id/archive').get(async (req, res) => {
    const request = readRequest(req, res)
    const checkpoint = permittedCheckpoint(req)
    const content = await contents.openArchive(checkpoint, request)
    const { fileName, summary } = checkpoint
    const type = TYPES[summary.compression] ?? 'application/octet-stream'
    const isPacked = summary.compression !== 'none'
    await answer({ req, res, content, checkpoint: asOpened(checkpoint, content), fileName, type, isPacked })
  })

  router.route('/v1/checkpoints/:id/members/*name').get(async (req, res) => {
    const request = readRequest(req, res)
    const checkpoint = permittedCheckpoint(req)
    const member = req.params.name.join('/')
    const content = await contents.openMember(checkpoint, { ...request, member })
    const fileName = member.slice(member.lastIndexOf('/') + 1)
    const type = 'application/octet-stream'
    await answer({ req, res, content, checkpoint: asOpened(checkpoint, content), fileName, type, part: '-member' })
  })

  return router
}

const TYPES: Readonly<Record<string, string>> = {
  none: 'application/x-tar',
  gzip: 'application/gzip',
  zstd: 'application/zstd',
}

interface ContentAnswer {
  readonly req: Request
  readonly res: Response
  readonly content: OpenContent
  /** The checkpoint, matched to the file that was opened. */
  readonly checkpoint: Checkpoint
  readonly fileName: string
  readonly type: string
  /** Suffix of the entity tags; set unless the content is a whole archive. */
  readonly part?: string
  /** Marks content that is already compressed, so that it is not compressed again. */
  readonly isPacked?: boolean
}

type Headers = Record<string, string | number>

function readRequest(req: Request, res: Response) {
  const signal = presenceOf(res)
  const { recipient, incomplete } = readQuery(req, contentQuery, ['recipient'])
  return { actor: actorOf(req, res), recipients: recipient, acceptsIncomplete: incomplete === 'true', signal }
}

/**
 * Matches the checkpoint to the file that was opened. If the file is another generation than the one in the inventory,
 * the known digest does not apply.
 */
function asOpened(checkpoint: Checkpoint, { generation }: OpenContent): Checkpoint {
  if (generation === checkpoint.generation) return checkpoint
  const { sha256: _, ...rest } = checkpoint
  return { ...rest, generation }
}

async function answer(order: ContentAnswer): Promise<void> {
  const { req, res, content, checkpoint, part } = order
  try {
    const { recipients } = content
    const coding = chooseForm(order)
    const tags = contentTags(checkpoint, { coding, recipients }, part)
    const headers = describe(order, tags, coding)
    assertMatch(req.get('if-match'), tags)
    if (isKnown(req.get('if-none-match'), tags)) {
      const { ETag, Vary } = headers
      res.writeHead(304, { ETag, Vary, 'Cache-Control': 'no-store' }).end()
      return
    }
    await send(order, { headers, coding, ...rangeOf(order, tags) })
  } finally {
    await content.close()
  }
}

/**
 * Chooses the content coding. Encrypted or compressed content gains nothing from a coding, and ranges apply to
 * unencoded content.
 */
function chooseForm({ req, content, isPacked = false }: ContentAnswer): ContentCoding | undefined {
  const wantsRange = req.method === 'GET' && req.get('range') !== undefined
  if (content.recipients.length > 0 || isPacked || wantsRange) return undefined
  return chooseCoding(req.get('accept-encoding'))
}

function describe(order: ContentAnswer, tags: ContentTags, coding: ContentCoding | undefined): Headers {
  const { content, checkpoint, fileName, type, part } = order
  const isEncrypted = content.recipients.length > 0
  const isPlain = !isEncrypted && coding === undefined
  const { sha256 } = checkpoint
  return {
    'Content-Type': isEncrypted ? 'application/octet-stream' : type,
    'Content-Disposition': attachment(isEncrypted ? `${fileName}.age` : fileName),
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    Vary: 'Accept-Encoding',
    ETag: tags.current,
    'Accept-Ranges': isPlain ? 'bytes' : 'none',
    'X-Archive-State': checkpoint.state,
    ...(sha256 !== undefined && { 'X-Archive-Sha256': sha256 }),
    ...(coding !== undefined && { 'Content-Encoding': coding }),
    ...(isPlain && sha256 !== undefined && part === undefined && { 'Repr-Digest': reprDigest(sha256) }),
  }
}

/** Formats `Repr-Digest` (RFC 9530), which covers the whole content even if only a range is sent. */
function reprDigest(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`
}

function assertMatch(ifMatch: string | undefined, tags: ContentTags): void {
  if (ifMatch === undefined || tags.isMatch(ifMatch)) return
  throw new ConflictError('Cannot do this: the archive is not the one that "If-Match" names any more', {
    code: 'PreconditionFailed',
    hint: 'Read the checkpoint again, see that it is still what you mean, and ask for its new ETag.',
  })
}

function isKnown(ifNoneMatch: string | undefined, tags: ContentTags): boolean {
  return ifNoneMatch !== undefined && tags.isKnown(ifNoneMatch)
}

interface Part {
  readonly first: number
  readonly end: number
  readonly isPart: boolean
}

/**
 * Returns the part of the content to send; only GET supports ranges. Throws InvalidInputError (`RangeNotSatisfiable`,
 * 416).
 */
function rangeOf({ req, res, content }: ContentAnswer, tags: ContentTags): Part {
  const { sizeBytes, recipients } = content
  const whole = { first: 0, end: sizeBytes, isPart: false }
  const ifRange = req.get('if-range')
  if (req.method !== 'GET' || recipients.length > 0) return whole
  if (ifRange !== undefined && !tags.isSameForRange(ifRange)) return whole
  const range = chooseRange(req.get('range'), sizeBytes)
  if (range.kind === 'whole') return whole
  if (range.kind === 'part') return { first: range.first, end: range.end, isPart: true }
  res.set('Content-Range', `bytes */${sizeBytes}`)
  throw new InvalidInputError(`Cannot hand out this range: there are ${sizeBytes} bytes`, {
    code: 'RangeNotSatisfiable',
    hint: 'What you have may be all of it already: compare its size and its digest.',
  })
}

interface Sending extends Part {
  readonly headers: Headers
  readonly coding: ContentCoding | undefined
}

async function send({ req, res, content }: ContentAnswer, sending: Sending): Promise<void> {
  const { headers, coding, first, end, isPart } = sending
  const writeHead = () => {
    res.writeHead(isPart ? 206 : 200, {
      ...headers,
      ...(headers['Accept-Ranges'] === 'bytes' && { 'Content-Length': end - first }),
      ...(isPart && { 'Content-Range': `bytes ${first}-${end - 1}/${content.sizeBytes}` }),
    })
  }
  if (req.method === 'HEAD') {
    writeHead()
    res.end()
    return
  }
  const start = () => {
    writeHead()
    return responseSink(res)
  }
  try {
    await content.send({ first, end, start, ...(coding !== undefined && { coding }) })
  } catch (error) {
    if (!res.headersSent) throw error
    // The sender has closed the connection, which the client notices, and has logged the cause.
  }
}
