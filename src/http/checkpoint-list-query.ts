import { createHash } from 'node:crypto'
import type { CheckpointCursor, CheckpointFilter, CheckpointQuery } from '../store/checkpoint-query.ts'
import type { Request } from 'express'
import { z } from 'zod'
import { InvalidInputError } from '../shared/errors.ts'
import { checkpointListQuery } from '../api/checkpoint-schemas.ts'
import { continueToken, writeToken } from '../api/continue-token.ts'
import { readQuery } from './request-input.ts'

/**
 * Parses the query of the checkpoint list. Throws InvalidInputError, also for a `continue` token from a list with a
 * different sort or different filters.
 */
export function readListQuery(req: Request): CheckpointQuery {
  const { continue: position, limit, sort, ...filters } = readQuery(req, QUERY)
  const filter = toFilter(filters)
  const order = toOrder(sort)
  if (position === undefined) return { filter, order, limit }

  const { value, id } = position
  const isOfThisList = position.list === listKey({ filter, order })
  if (!isOfThisList || typeof value !== (order.key === 'fileName' ? 'string' : 'number')) {
    const reason = 'belongs to a list with another sort or other filters'
    throw new InvalidInputError(`Cannot read the request query: "continue" ${reason}`, {
      code: 'InvalidRequest',
      hint: 'Repeat the sort and the filters of the first page, or begin again without "continue".',
      extra: { problems: [{ in: 'query', name: 'continue', reason }] },
    })
  }
  return { filter, order, limit, after: { value, id } }
}

export function writeContinue(query: CheckpointQuery, { value, id }: CheckpointCursor): string {
  return writeToken({ list: listKey(query), value, id })
}

const QUERY = checkpointListQuery.extend({
  continue: continueToken(
    z.strictObject({ list: z.string(), value: z.union([z.string(), z.number()]), id: z.string() }),
  ),
})

type Filters = Omit<z.infer<typeof QUERY>, 'continue' | 'limit' | 'sort'>

function toFilter({ pinned, takenAfter, takenBefore, ...filters }: Filters): CheckpointFilter {
  const { namespace, pod, container, podUid, engine, state, identitySource, minBytes, reason } = filters
  return {
    ...(namespace !== undefined && { namespace }),
    ...(pod !== undefined && { pod }),
    ...(container !== undefined && { container }),
    ...(podUid !== undefined && { podUid }),
    ...(engine !== undefined && { engine }),
    ...(state !== undefined && { state }),
    ...(identitySource !== undefined && { identitySource }),
    ...(pinned !== undefined && { pinned: pinned === 'true' }),
    ...(takenAfter !== undefined && { takenAfter: new Date(takenAfter) }),
    ...(takenBefore !== undefined && { takenBefore: new Date(takenBefore) }),
    ...(minBytes !== undefined && { minBytes }),
    ...(reason !== undefined && { reason }),
  }
}

function toOrder(sort: z.infer<typeof QUERY>['sort']): CheckpointQuery['order'] {
  const isDescending = sort.startsWith('-')
  const key = (isDescending ? sort.slice(1) : sort) as CheckpointQuery['order']['key']
  return { key, isDescending }
}

/** Identifies a list by its sort and filters, so that it is equal for all pages. The limit may change between pages. */
function listKey({ filter, order }: Pick<CheckpointQuery, 'filter' | 'order'>): string {
  const text = JSON.stringify([order.key, order.isDescending, filter])
  return createHash('sha256').update(text).digest('base64url').slice(0, 16)
}
