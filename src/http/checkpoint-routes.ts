import { Router } from 'express'
import { memberListQuery, type MemberList } from '../api/content-schemas.ts'
import { noQuery } from '../api/common-schemas.ts'
import { type CheckpointList } from '../api/checkpoint-schemas.ts'
import { archivePosition, assertSameArchive, writePosition } from './archive-position.ts'
import { permittedCheckpoint, visibleRows } from './authorize.ts'
import { callerOf, presenceOf } from './caller.ts'
import { readListQuery, writeContinue } from './checkpoint-list-query.ts'
import { entityTag, toCheckpointResponse, toMemberResponse, toProblems } from './checkpoint-response.ts'
import { readQuery } from './request-input.ts'
import type { CheckpointServices } from './checkpoint-services.ts'

/** Serves the inventory of archives on this node. */
export function checkpointRoutes(
  checkpoints: Pick<CheckpointServices, 'list' | 'members' | 'namespaces'>,
  { nodeName }: { readonly nodeName: string },
): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/checkpoints').get(async (req, res) => {
    const query = readListQuery(req)
    const { of } = await visibleRows(req).among(() => checkpoints.namespaces())
    const filter = of === 'node' ? query.filter : { ...query.filter, belongsTo: of === 'namespaces' ? ANY : [...of] }
    const { items, remaining, next } = await checkpoints.list({ ...query, filter })
    const body: CheckpointList = {
      items: items.map((checkpoint) => toCheckpointResponse(checkpoint, nodeName)),
      continue: next && writeContinue(query, next),
      remaining,
    }
    res.json(body)
  })

  router.route('/v1/checkpoints/:id').get((req, res) => {
    readQuery(req, noQuery)
    const checkpoint = permittedCheckpoint(req)
    const body = toCheckpointResponse(checkpoint, nodeName)
    // Express answers `If-None-Match` by itself once the tag is set.
    res.set('ETag', entityTag(checkpoint, body)).json(body)
  })

  router.route('/v1/checkpoints/:id/members').get(async (req, res) => {
    const { limit, continue: position } = readQuery(req, MEMBER_QUERY)
    const signal = presenceOf(res)
    const checkpoint = permittedCheckpoint(req)
    if (position !== undefined) assertSameArchive(checkpoint, position)
    const skip = position?.skip ?? 0
    const page = await unlessAborted(
      signal,
      checkpoints.members(checkpoint, { user: callerOf(req), skip, limit, signal }),
    )
    if (page === undefined) return
    const { members, remaining, problems } = page
    const body: MemberList = {
      items: members.map(toMemberResponse),
      continue: members.length > 0 ? writePosition(checkpoint, skip + members.length, remaining) : undefined,
      remaining,
      problems: toProblems(problems),
    }
    res.json(body)
  })

  return router
}

const ANY = 'any' as const

const MEMBER_QUERY = memberListQuery.extend({ continue: archivePosition })

/** Awaits the work; returns undefined if the client has disconnected, because no response can be sent. */
async function unlessAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result | undefined> {
  try {
    const result = await work
    return signal.aborted ? undefined : result
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}
