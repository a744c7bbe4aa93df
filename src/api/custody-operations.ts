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
    summary: 'Get a signed statement about an archive',
    permission: { kind: 'checkpoint', verb: 'get' },
    countsWithoutDigest: ['inspection'],
    description:
      'An in-toto statement in a DSSE envelope. docs/concepts/custody.md describes its content and how to verify it offline.',
    answers: {
      200: { description: 'The envelope', schema: dsseEnvelope },
      ...problems(...READ_PROBLEMS, 404, 409, 429),
    },
  },
  listCustody: {
    method: 'get',
    path: '/v1/custody',
    summary: 'List custody entries: who did what to which archive',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    query: custodyQuery,
    answers: { 200: { description: 'A page of entries', schema: custodyPage }, ...problems(...READ_PROBLEMS) },
  },
  verifyCustody: {
    method: 'get',
    path: '/v1/custody/verify',
    summary: 'Verify that the custody log is unchanged',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    description:
      'Reads the whole log. `verdict` is `authentic` if a head signed by the key of this agent covers every entry.',
    query: custodyVerifyQuery,
    answers: { 200: { description: 'The report', schema: custodyReport }, ...problems(...READ_PROBLEMS) },
  },
  getCustodyHead: {
    method: 'get',
    path: '/v1/custody/head',
    summary: 'Get the signed head of the custody log',
    permission: { kind: 'node', verb: 'get', subresource: 'custody' },
    description:
      'A DSSE envelope, as in `head.json`. Its payload has `node`, `seq`, `hash` and `time`. Store it elsewhere: with it, `checkpoint-agent verify-custody --head` detects a missing end of the log.',
    answers: {
      200: { description: 'The envelope', schema: dsseEnvelope },
      ...problems(...READ_PROBLEMS, 503),
    },
  },
  exportCustody: {
    method: 'get',
    path: '/v1/custody/export',
    summary: 'Export the custody log, one entry per line',
    permission: { kind: 'node', verb: 'get', subresource: 'custody', isLong: true },
    query: custodyExportQuery,
    answers: {
      200: { description: 'The lines, with their hashes', mediaType: 'application/jsonl' },
      ...problems(...READ_PROBLEMS),
    },
  },
})
