import { contentQuery, memberList, memberListQuery, rootfsDiffQuery, rootfsDiffResponse } from './content-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

const CONTENT_HEADERS = [
  { name: 'Range', description: 'One range of bytes; it goes before Accept-Encoding' },
  { name: 'If-Range', description: 'An `ETag`: without it being that one, the whole is sent' },
  { name: 'If-Match', description: 'An `ETag`: without it being that one, nothing is sent' },
  { name: 'If-None-Match', description: 'The `ETag` of what is there already' },
  { name: 'Accept-Encoding', description: '`zstd` or `gzip` compresses on the way' },
]

const CONTENT_ANSWER = {
  mediaType: 'application/octet-stream',
  headers: ['ETag', 'Content-Disposition', 'X-Archive-Sha256', 'X-Archive-State'],
}

/** What is encrypted, and what is packed as nobody knows, is only bytes. */
const ARCHIVE_ANSWER = {
  ...CONTENT_ANSWER,
  otherMediaTypes: ['application/x-tar', 'application/gzip', 'application/zstd'],
}

const CONTENT_PROBLEMS = [...READ_PROBLEMS, 404, 409, 412, 416, 429, 503] as const

export const contentOperations = defineOperations('content', {
  listCheckpointMembers: {
    method: 'get',
    path: '/v1/checkpoints/{id}/members',
    summary: 'What is in an archive, in its order',
    permission: { kind: 'checkpoint', verb: 'get' },
    counts: ['inspection'],
    description: 'Read from the archive each time. `continue` belongs to the file as it was.',
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
      'HEAD gives the same headers. Compressed or encrypted, the answer has no length, no ranges and an `ETag` of its own. ' +
      'It ends early, as an error, when the file is replaced or removed meanwhile.',
    query: contentQuery,
    headers: CONTENT_HEADERS,
    answers: {
      200: { ...ARCHIVE_ANSWER, description: 'The archive', headers: [...CONTENT_ANSWER.headers, 'Repr-Digest'] },
      206: {
        ...ARCHIVE_ANSWER,
        description: 'Part of it',
        headers: [...CONTENT_ANSWER.headers, 'Repr-Digest', 'Content-Range'],
      },
      304: { description: 'It is as it was', headers: ['ETag'] },
      ...problems(...CONTENT_PROBLEMS),
    },
  },
  getCheckpointMember: {
    method: 'get',
    path: '/v1/checkpoints/{id}/members/{name}',
    summary: 'The bytes of one member of an archive',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['content', 'inspection'],
    description:
      'Straight from the archive, packed or not. `name` is one of the list; its slashes may stand as they are.',
    query: contentQuery,
    headers: CONTENT_HEADERS,
    answers: {
      200: { ...CONTENT_ANSWER, description: 'The content of the member' },
      206: { ...CONTENT_ANSWER, description: 'Part of it', headers: [...CONTENT_ANSWER.headers, 'Content-Range'] },
      304: { description: 'It is as it was', headers: ['ETag'] },
      ...problems(...CONTENT_PROBLEMS, 422),
    },
  },
  listRootfsDiff: {
    method: 'get',
    path: '/v1/checkpoints/{id}/rootfs-diff',
    summary: 'What the container had written over its image',
    permission: { kind: 'checkpoint', verb: 'get', content: true },
    counts: ['inspection'],
    description: 'Read from the archive each time, nothing is unpacked. `continue` belongs to the file as it was.',
    query: rootfsDiffQuery,
    answers: {
      200: { description: 'A page of changes', schema: rootfsDiffResponse },
      ...problems(...READ_PROBLEMS, 404, 409, 422, 429, 503),
    },
  },
})
