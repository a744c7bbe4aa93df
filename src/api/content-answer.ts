import { mediaTypeOf, UnexpectedAnswerError } from './api-error.ts'

/** The headers of content: of an archive, or of a member of one. */
export interface ContentHeaders {
  /** 206 where the body is a part of the content. */
  readonly status: 200 | 206
  readonly etag: string
  readonly mediaType: string
  /** A name to save the content under. */
  readonly fileName: string | undefined
  /** The size of this body; absent if it is compressed or encrypted on the way. */
  readonly bodyBytes: number | undefined
  /** The part that the body is; both ends count. */
  readonly range: { readonly first: number; readonly last: number; readonly totalBytes: number } | undefined
  readonly archiveState: string | undefined
  /** The digest of the whole plain archive in hexadecimal, once it is known. */
  readonly archiveSha256: string | undefined
}

export interface ContentAnswer extends ContentHeaders {
  /** Fails when the connection, or the archive, ends early. Read it to its end or cancel it. */
  readonly body: ReadableStream<Uint8Array>
}

/** A range of bytes: from `first` to `last`, both included, or to the end; or the last `suffixBytes`. */
export type ByteRange = { readonly first: number; readonly last?: number } | { readonly suffixBytes: number }

export function formatRange(range: ByteRange): string {
  if ('suffixBytes' in range) return `bytes=-${range.suffixBytes}`
  return `bytes=${range.first}-${range.last ?? ''}`
}

export function readContentHeaders(response: Response): ContentHeaders {
  const { status, headers } = response
  const etag = headers.get('etag')
  if ((status !== 200 && status !== 206) || etag === null) {
    throw new UnexpectedAnswerError(`Cannot read content: status ${status} without the headers of content`, response)
  }
  const length = headers.get('content-length')
  // Fetch takes the coding off the body, and leaves the headers as they were.
  const isCoded = headers.has('content-encoding')
  return {
    status,
    etag,
    mediaType: mediaTypeOf(response),
    fileName: parseFileName(headers.get('content-disposition') ?? ''),
    bodyBytes: length === null || isCoded ? undefined : Number(length),
    range: parseContentRange(headers.get('content-range') ?? ''),
    archiveState: headers.get('x-archive-state') ?? undefined,
    archiveSha256: headers.get('x-archive-sha256') ?? undefined,
  }
}

export function readContent(response: Response): ContentAnswer {
  const headers = readContentHeaders(response)
  // Only a body of no bytes can be missing.
  return { ...headers, body: response.body ?? new ReadableStream({ start: (controller) => controller.close() }) }
}

function parseContentRange(header: string): ContentHeaders['range'] {
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header) ?? []
  if (first === undefined || last === undefined || total === undefined) return undefined
  return { first: Number(first), last: Number(last), totalBytes: Number(total) }
}

/** The second form keeps letters of other scripts (RFC 6266). */
function parseFileName(header: string): string | undefined {
  const plain = /filename="([^"]*)"/.exec(header)?.[1]
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1]
  if (encoded === undefined) return plain
  try {
    return decodeURIComponent(encoded)
  } catch {
    return plain
  }
}
