import {
  custodyExportQuery,
  custodyPage,
  custodyQuery,
  custodyReport,
  custodyVerifyQuery,
  dsseEnvelope,
} from './custody-schemas.ts'
import { defineOperations, problems, READ_PROBLEMS } from './operation.ts'

export const custodyOperations = defineOperations('custody', {
  getManifest: {
    method: 'get',
    path: '/v1/checkpoints/{id}/manifest',
    summary: 'A signed statement about an archive',
    permission: { kind: 'checkpoint', verb: 'get' },
    countsWithoutDigest: ['inspection'],
    description:
      'An in-toto statement in a DSSE envelope. docs/custody.md says what is in it and how to verify it offline.',
    answers: {
      200: { description: 'The envelope', schema: dsseEnvelope },
      ...problems(...READ_PROBLEMS, 404, 409, 429),
    },
  },
  listCustody: {
    method: 'get',
    path: '/v1/custody',
    summary: 'Who did what to which archive',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    query: custodyQuery,
    answers: { 200: { description: 'A page of entries', schema: custodyPage }, ...problems(...READ_PROBLEMS) },
  },
  verifyCustody: {
    method: 'get',
    path: '/v1/custody/verify',
    summary: 'Whether the custody log is as it was written',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    description:
      'Reads all of it. `verdict` is `authentic` where every entry up to the end is covered by a head that the key of this agent signed.',
    query: custodyVerifyQuery,
    answers: { 200: { description: 'What was found', schema: custodyReport }, ...problems(...READ_PROBLEMS) },
  },
  getCustodyHead: {
    method: 'get',
    path: '/v1/custody/head',
    summary: 'How far the custody log has come, signed',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    description:
      'A DSSE envelope, as in `head.json`. Its payload has `node`, `seq`, `hash` and `time`. Keep it elsewhere: `checkpoint-agent verify-custody --head` finds by it that the end of a log is missing.',
    answers: {
      200: { description: 'The envelope', schema: dsseEnvelope },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
  exportCustody: {
    method: 'get',
    path: '/v1/custody/export',
    summary: 'The custody log as it stands, one entry a line',
    permission: { kind: 'node', verb: 'get', subresource: 'custody', isLong: true },
    query: custodyExportQuery,
    answers: {
      200: { description: 'The lines, with their hashes', mediaType: 'application/jsonl' },
      ...problems(...READ_PROBLEMS),
    },
  },
})
