import { contentQuery, memberList, memberListQuery, rootfsDiffQuery, rootfsDiffResponse } from './content-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

const CONTENT_HEADERS = [
  { name: 'Range', description: 'One range of bytes; takes precedence over Accept-Encoding' },
  { name: 'If-Range', description: 'An `ETag`: the whole content is sent unless it is current' },
  { name: 'If-Match', description: 'An `ETag`: the request is refused unless it is current' },
  { name: 'If-None-Match', description: 'The `ETag` of the content that the caller has' },
  { name: 'Accept-Encoding', description: '`zstd` or `gzip` compresses the content on the way' },
]

const CONTENT_ANSWER = {
  mediaType: 'application/octet-stream',
  headers: ['ETag', 'Content-Disposition', 'X-Archive-Sha256', 'X-Archive-State'],
}

/** Encrypted content, and archives of unknown compression, are `application/octet-stream`. */
const ARCHIVE_ANSWER = {
  ...CONTENT_ANSWER,
  otherMediaTypes: ['application/x-tar', 'application/gzip', 'application/zstd'],
}

const CONTENT_PROBLEMS = [...READ_PROBLEMS, 404, 409, 412, 416, 429, 503] as const

export const contentOperations = defineOperations('content', {
  listCheckpointMembers: {
    method: 'get',
    path: '/v1/checkpoints/{id}/members',
    summary: 'List the members of an archive, in its order',
    permission: { kind: 'checkpoint', verb: 'get' },
    counts: ['inspection'],
    description: 'Reads the archive each time. `continue` is valid until the file changes.',
    query: memberListQuery,
    answers: {
      200: { description: 'A page of members', schema: memberList },
      ...problems(...READ_PROBLEMS, 404, 409, 422, 429, 503),
    },
  },
  getCheckpointArchive: {
    method: 'get',
    path: '/v1/checkpoints/{id}/archive',
    summary: 'Download an archive',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['content'],
    description:
      'HEAD gives the same headers. A compressed or encrypted answer has no length, no ranges and an `ETag` of its own. The ' +
      'connection breaks if the file is replaced or removed during the download.',
    query: contentQuery,
    headers: CONTENT_HEADERS,
    answers: {
      200: { ...ARCHIVE_ANSWER, description: 'The archive', headers: [...CONTENT_ANSWER.headers, 'Repr-Digest'] },
      206: {
        ...ARCHIVE_ANSWER,
        description: 'The requested part',
        headers: [...CONTENT_ANSWER.headers, 'Repr-Digest', 'Content-Range'],
      },
      304: { description: 'Not modified', headers: ['ETag'] },
      ...problems(...CONTENT_PROBLEMS),
    },
  },
  getCheckpointMember: {
    method: 'get',
    path: '/v1/checkpoints/{id}/members/{name}',
    summary: 'Download a member of an archive',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['content', 'inspection'],
    description:
      'Reads the member from the archive, compressed or not. `name` comes from the list of members; its slashes need no encoding.',
    query: contentQuery,
    headers: CONTENT_HEADERS,
    answers: {
      200: { ...CONTENT_ANSWER, description: 'The content of the member' },
      206: {
        ...CONTENT_ANSWER,
        description: 'The requested part',
        headers: [...CONTENT_ANSWER.headers, 'Content-Range'],
      },
      304: { description: 'Not modified', headers: ['ETag'] },
      ...problems(...CONTENT_PROBLEMS, 422),
    },
  },
  listRootfsDiff: {
    method: 'get',
    path: '/v1/checkpoints/{id}/rootfs-diff',
    summary: 'List what the container changed in its file system',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['inspection'],
    description: 'Reads the archive each time and unpacks nothing. `continue` is valid until the file changes.',
    query: rootfsDiffQuery,
    answers: {
      200: { description: 'A page of changes', schema: rootfsDiffResponse },
      ...problems(...READ_PROBLEMS, 404, 409, 422, 429, 503),
    },
  },
})
