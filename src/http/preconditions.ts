import type { Request } from 'express'
import { ConflictError } from '../shared/errors.ts'

/** Throws ConflictError (`PreconditionFailed`, 412) unless `If-Match` is absent, `*`, or names this tag. */
export function assertMatch(req: Request, entityTag: string): void {
  const wanted = req.get('if-match')
  if (wanted === undefined || wanted.trim() === '*') return
  const tags: readonly string[] = wanted.match(/(?:W\/)?"[^"]*"/g) ?? []
  // Weak tags never match here (RFC 9110, 13.1.1).
  if (tags.includes(entityTag)) return
  throw new ConflictError('Cannot do this: the checkpoint is not the one that "If-Match" names any more', {
    code: 'PreconditionFailed',
    hint: 'Read the checkpoint again, see that it is still what you mean, and send its new ETag.',
  })
}
