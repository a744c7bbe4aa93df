import type { RootfsChange } from '../archive/rootfs-diff.ts'
import { Router } from 'express'
import { rootfsDiffQuery, type RootfsDiffResponse } from '../api/content-schemas.ts'
import { archivePosition, assertSameArchive, writePosition } from './archive-position.ts'
import { permittedCheckpoint } from './authorize.ts'
import { actorOf, presenceOf } from './caller.ts'
import { toMemberResponse, toProblems } from './checkpoint-response.ts'
import { readQuery } from './request-input.ts'
import type { ContentServices } from './content-services.ts'

/** Serves the container's changes to its root filesystem. */
export function rootfsDiffRoutes(contents: Pick<ContentServices, 'readRootfsDiff'>): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.route('/v1/checkpoints/:id/rootfs-diff').get(async (req, res) => {
    const signal = presenceOf(res)
    const { limit, continue: position, incomplete } = readQuery(req, QUERY)
    const checkpoint = permittedCheckpoint(req)
    if (position !== undefined) assertSameArchive(checkpoint, position)
    const skip = position?.skip ?? 0
    const request = {
      actor: actorOf(req, res),
      acceptsIncomplete: incomplete === 'true',
      isHeadOnly: req.method === 'HEAD',
      signal,
      skip,
      limit,
    }
    const diff = await contents.readRootfsDiff(checkpoint, request).catch((error: unknown) => {
      if (signal.aborted) return undefined
      throw error
    })
    // The client has disconnected, so no response can be sent.
    if (diff === undefined) return
    const body: RootfsDiffResponse = {
      items: diff.changes.map(toChangeResponse),
      present: diff.isThere,
      atLeast: !diff.isComplete,
      continue:
        diff.changes.length > 0 ? writePosition(checkpoint, skip + diff.changes.length, diff.remaining) : undefined,
      remaining: diff.remaining,
      problems: toProblems(diff.problems),
    }
    res.set('Cache-Control', 'no-store').json(body)
  })

  return router
}

const QUERY = rootfsDiffQuery.extend({ continue: archivePosition })

function toChangeResponse({ path, change, entry }: RootfsChange): RootfsDiffResponse['items'][number] {
  if (entry === undefined) return { path: `/${path}`, change }
  const { type, sizeBytes, modifiedAt, linkName } = toMemberResponse(entry)
  return { path: `/${path}`, change, type, sizeBytes, modifiedAt, linkName }
}
