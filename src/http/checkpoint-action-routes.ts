import { Router, type RequestHandler } from 'express'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { noQuery } from './api-types.ts'
import { pinRequest, type CheckpointResponse, type VerificationResponse } from './checkpoint-api-types.ts'
import { permittedCheckpoint } from './authorize.ts'
import { actorOf, presenceOf } from './caller.ts'
import { entityTag, toCheckpointResponse, toProblems } from './checkpoint-response.ts'
import { assertMatch } from './preconditions.ts'
import { optionalJsonBody, readBody, readQuery } from './request-input.ts'
import type { CheckpointActions, Verification } from './checkpoint-services.ts'

/** What can be done with an archive as a whole: keep it, prove it, remove it. */
export function checkpointActionRoutes(
  actions: CheckpointActions,
  { nodeName }: { readonly nodeName: string },
): Router {
  const router = Router({ caseSensitive: true, strict: true })

  /** The checkpoint that is meant: an id survives the replacement of its file, `If-Match` does not. */
  const find = (req: Parameters<typeof assertMatch>[0]) => {
    const checkpoint = permittedCheckpoint(req)
    assertMatch(req, entityTag(checkpoint, toCheckpointResponse(checkpoint, nodeName)))
    return checkpoint
  }

  router
    .route('/v1/checkpoints/:id/pin')
    .put(optionalJsonBody(), async (req, res) => {
      readQuery(req, noQuery)
      const { reason } = readBody(req, pinRequest)
      const checkpoint = find(req)
      const order = { actor: actorOf(req, res), ...(reason !== undefined && { reason }) }
      sendCheckpoint(res, await actions.pin(checkpoint, order), nodeName)
    })
    .delete(async (req, res) => {
      readQuery(req, noQuery)
      const checkpoint = find(req)
      sendCheckpoint(res, await actions.unpin(checkpoint, { actor: actorOf(req, res) }), nodeName)
    })

  router.route('/v1/checkpoints/:id/verify').post(async (req, res) => {
    const signal = presenceOf(res)
    readQuery(req, noQuery)
    const checkpoint = permittedCheckpoint(req)
    const found = await actions.verify(checkpoint, { actor: actorOf(req, res), signal })
    res.json(toVerificationResponse(checkpoint, found))
  })

  // The other methods of this path are in `checkpoint-routes.ts`.
  router.delete('/v1/checkpoints/:id', async (req, res) => {
    readQuery(req, noQuery)
    await actions.remove(find(req), { actor: actorOf(req, res) })
    res.status(204).end()
  })

  return router
}

function sendCheckpoint(res: Parameters<RequestHandler>[1], checkpoint: Checkpoint, nodeName: string): void {
  const body: CheckpointResponse = toCheckpointResponse(checkpoint, nodeName)
  res.set('ETag', entityTag(checkpoint, body)).json(body)
}

function toVerificationResponse({ id }: Checkpoint, found: Verification): VerificationResponse {
  return {
    id,
    intact: found.isIntact,
    sha256: found.sha256,
    sizeBytes: found.sizeBytes,
    index: found.index,
    custody: found.custody,
    problems: toProblems(found.problems),
  }
}
