import type { Request } from 'express'
import { operationList } from '../api/operations.ts'

const PATHS = new Set(operationList.flatMap(({ path, permission }) => (permission.kind === 'open' ? [path] : [])))

/** Whether a request is for `/healthz` or `/readyz`, which are open to everybody at any time. */
export function isHealthRequest({ method, path }: Request): boolean {
  return (method === 'GET' || method === 'HEAD') && PATHS.has(path)
}
