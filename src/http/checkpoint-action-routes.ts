import type { Verification } from '../checkpoint/verification.ts'
import { Router, type Request, type RequestHandler } from 'express'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import {
  actionRequest,
  reasonQuery,
  type CheckpointResponse,
  type VerificationResponse,
} from '../api/checkpoint-schemas.ts'
import { permittedCheckpoint } from './authorize.ts'
import { actorOf, presenceOf } from './caller.ts'
import { entityTag, toCheckpointResponse, toProblems } from './checkpoint-response.ts'
import { assertMatch } from './preconditions.ts'
import { optionalJsonBody, readBody, readQuery } from './request-input.ts'
import type { CheckpointActions } from './checkpoint-services.ts'

/** Serves actions on a whole archive: pin, unpin, verify and remove. */
export function checkpointActionRoutes(
  actions: CheckpointActions,
  { nodeName }: { readonly nodeName: string },
): Router {
  const router = Router({ caseSensitive: true, strict: true })

  /**
   * Returns the requested checkpoint after checking `If-Match`. The id stays the same when the file is replaced, but
   * the entity tag does not.
   */
  const find = (req: Parameters<typeof assertMatch>[0]) => {
    const checkpoint = permittedCheckpoint(req)
    assertMatch(req, entityTag(checkpoint, toCheckpointResponse(checkpoint, nodeName)))
    return checkpoint
  }

  router
    .route('/v1/checkpoints/:id/pin')
    .put(optionalJsonBody(), async (req, res) => {
      const order = { actor: actorOf(req, res), ...readReason(req) }
      sendCheckpoint(res, await actions.pin(find(req), order), nodeName)
    })
    .delete(optionalJsonBody(), async (req, res) => {
      const order = { actor: actorOf(req, res), ...readReason(req) }
      sendCheckpoint(res, await actions.unpin(find(req), order), nodeName)
    })

  router.route('/v1/checkpoints/:id/verify').post(optionalJsonBody(), async (req, res) => {
    const signal = presenceOf(res)
    const order = { actor: actorOf(req, res), ...readReason(req), signal }
    const checkpoint = permittedCheckpoint(req)
    const found = await actions.verify(checkpoint, order)
    res.json(toVerificationResponse(checkpoint, found))
  })

  // `checkpoint-routes.ts` serves the other methods of this path.
  router.delete('/v1/checkpoints/:id', optionalJsonBody(), async (req, res) => {
    const order = { actor: actorOf(req, res), ...readReason(req) }
    await actions.remove(find(req), order)
    res.status(204).end()
  })

  return router
}

/** Reads the reason from the body, or else from the query, because some clients send no body with DELETE. */
function readReason(req: Request): { readonly reason?: string } {
  const { reason: inQuery } = readQuery(req, reasonQuery)
  const { reason = inQuery } = readBody(req, actionRequest)
  return reason === undefined ? {} : { reason }
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
