import {
  actionRequest,
  checkpointList,
  checkpointListQuery,
  checkpointResponse,
  pinRequest,
  reasonQuery,
  verificationResponse,
} from './checkpoint-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

const IF_MATCH = { name: 'If-Match', description: 'The `ETag` of the checkpoint that you mean' }

export const checkpointOperations = defineOperations('checkpoints', {
  listCheckpoints: {
    method: 'get',
    path: '/v1/checkpoints',
    summary: 'List the checkpoint archives of this node',
    permission: { kind: 'rows', verb: 'list' },
    description: 'All given filters must match. `continue` is valid with the sort and the filters of its page.',
    query: checkpointListQuery,
    answers: {
      200: { description: 'A page of checkpoints', schema: checkpointList },
      ...problems(...READ_PROBLEMS),
    },
  },
  getCheckpoint: {
    method: 'get',
    path: '/v1/checkpoints/{id}',
    summary: 'Get a checkpoint',
    permission: { kind: 'checkpoint', verb: 'get' },
    headers: [{ name: 'If-None-Match', description: 'The `ETag` of an earlier answer' }],
    answers: {
      200: { description: 'The checkpoint', schema: checkpointResponse, headers: ['ETag'] },
      304: { description: 'Not modified', headers: ['ETag'] },
      ...problems(...READ_PROBLEMS, 404),
    },
  },
  deleteCheckpoint: {
    method: 'delete',
    path: '/v1/checkpoints/{id}',
    summary: 'Remove an archive',
    permission: { kind: 'checkpoint', verb: 'delete' },
    counts: ['change'],
    description: 'Refused while the archive is pinned, being read or being written.',
    query: reasonQuery,
    headers: [IF_MATCH],
    body: actionRequest,
    isBodyOptional: true,
    answers: {
      204: { description: 'The archive is removed' },
      ...problems(...READ_PROBLEMS, 404, 409, 412, 413, 415, 429, 503),
    },
  },
  pinCheckpoint: {
    method: 'put',
    path: '/v1/checkpoints/{id}/pin',
    summary: 'Pin an archive: keep it until it is unpinned',
    permission: { kind: 'checkpoint', verb: 'update' },
    counts: ['change'],
    description:
      'Writes the marker `<archive>.keep`. A pin of somebody else stays as it is, and so does an existing reason unless another is given.',
    query: reasonQuery,
    headers: [IF_MATCH],
    body: pinRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'The checkpoint, pinned', schema: checkpointResponse, headers: ['ETag'] },
      ...problems(...READ_PROBLEMS, 404, 409, 412, 413, 415, 429, 503),
    },
  },
  unpinCheckpoint: {
    method: 'delete',
    path: '/v1/checkpoints/{id}/pin',
    summary: 'Unpin an archive',
    permission: { kind: 'checkpoint', verb: 'update' },
    counts: ['change'],
    description: 'Removes a marker that this agent or a person wrote, never one that an operator manages.',
    query: reasonQuery,
    headers: [IF_MATCH],
    body: actionRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'The checkpoint, without a pin', schema: checkpointResponse, headers: ['ETag'] },
      ...problems(...READ_PROBLEMS, 404, 409, 412, 413, 415, 429, 503),
    },
  },
  verifyCheckpoint: {
    method: 'post',
    path: '/v1/checkpoints/{id}/verify',
    summary: 'Read an archive to its end and compare it with its records',
    permission: { kind: 'checkpoint', verb: 'get' },
    counts: ['verify'],
    query: reasonQuery,
    body: actionRequest,
    isBodyOptional: true,
    answers: {
      200: { description: 'The result; `intact` sums it up', schema: verificationResponse },
      ...problems(...READ_PROBLEMS, 404, 409, 413, 415, 422, 429, 503),
    },
  },
})
