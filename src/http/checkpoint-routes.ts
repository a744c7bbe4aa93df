import { Router } from 'express'
import { z } from 'zod'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { ConflictError, InvalidInputError } from '../shared/errors.ts'
import { memberListQuery, noQuery, type CheckpointList, type MemberList } from './api-types.ts'
import { presenceOf } from './caller.ts'
import { readListQuery, writeContinue } from './checkpoint-list-query.ts'
import { entityTag, generationTag, toCheckpointResponse, toMemberResponse, toProblems } from './checkpoint-response.ts'
import { continueToken, writeToken } from './continue-token.ts'
import { otherMethods } from './error-handler.ts'
import { readQuery } from './request-input.ts'
import type { CheckpointServices } from './services.ts'

/** What is known of the archives of this node. */
export function checkpointRoutes(
  checkpoints: Pick<CheckpointServices, 'list' | 'get' | 'members'>,
  { nodeName }: { readonly nodeName: string },
): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router
    .route('/v1/checkpoints')
    .get(async (req, res) => {
      const query = readListQuery(req)
      const { items, remaining, next } = await checkpoints.list(query)
      const body: CheckpointList = {
        items: items.map((checkpoint) => toCheckpointResponse(checkpoint, nodeName)),
        continue: next && writeContinue(query, next),
        remaining,
      }
      res.json(body)
    })
    .all(otherMethods('GET', 'HEAD'))

  router
    .route('/v1/checkpoints/:id')
    .get(async (req, res) => {
      readQuery(req, noQuery)
      const checkpoint = await checkpoints.get(req.params.id)
      const body = toCheckpointResponse(checkpoint, nodeName)
      // With the tag in place Express answers `If-None-Match` by itself.
      res.set('ETag', entityTag(checkpoint, body)).json(body)
    })
    .all(otherMethods('GET', 'HEAD'))

  router
    .route('/v1/checkpoints/:id/members')
    .get(async (req, res) => {
      const { limit, continue: position } = readQuery(req, MEMBER_QUERY)
      const signal = presenceOf(res)
      const checkpoint = await checkpoints.get(req.params.id)
      if (position !== undefined) refuseOther(checkpoint, position)
      const skip = position?.skip ?? 0
      const page = await unlessAborted(signal, checkpoints.members(checkpoint.id, { skip, limit, signal }))
      if (page === undefined) return
      const { members, remaining, problems } = page
      const next = { id: checkpoint.id, generation: generationTag(checkpoint), skip: skip + members.length }
      const body: MemberList = {
        items: members.map(toMemberResponse),
        continue: remaining > 0 && members.length > 0 ? writeToken(next) : undefined,
        remaining,
        problems: toProblems(problems),
      }
      res.json(body)
    })
    .all(otherMethods('GET', 'HEAD'))

  return router
}

const memberPosition = z.strictObject({ id: z.string(), generation: z.string(), skip: z.int().positive() })

const MEMBER_QUERY = memberListQuery.extend({ continue: continueToken(memberPosition) })

function refuseOther(checkpoint: Checkpoint, { id, generation }: z.infer<typeof memberPosition>): void {
  if (id !== checkpoint.id) {
    const reason = 'belongs to another checkpoint'
    throw new InvalidInputError(`Cannot read the request query: "continue" ${reason}`, {
      code: 'InvalidRequest',
      extra: { problems: [{ in: 'query', name: 'continue', reason }] },
    })
  }
  if (generation !== generationTag(checkpoint)) {
    throw new ConflictError(`Cannot go on with the members of checkpoint "${id}": its file has changed since`, {
      code: 'CheckpointChanged',
      hint: 'Begin again without "continue"; while an archive is being written, each look shows more of it.',
    })
  }
}

/** Undefined when the caller has left: nobody is there to be told how it ended. */
async function unlessAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result | undefined> {
  try {
    const result = await work
    return signal.aborted ? undefined : result
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}
