import type { Request } from 'express'
import { operationList } from '../api/operations.ts'

const PATHS = new Set(operationList.flatMap(({ path, permission }) => (permission.kind === 'open' ? [path] : [])))

/** Matches requests for `/healthz` and `/readyz`, which are always open to everyone. */
export function isHealthRequest({ method, path }: Request): boolean {
  return (method === 'GET' || method === 'HEAD') && PATHS.has(path)
}
