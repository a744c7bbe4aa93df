import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RawAnswer } from '../http/raw-request.ts'

export interface KubeletAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Recording extends KubeletAnswer {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly requestBody: string | null
}

export interface Variant extends KubeletAnswer {
  readonly variant: string
  readonly requests: readonly string[]
}

/** Of a real kubelet 1.36.3, in front of the pod that `webPod` and `runWebPod` make. */
export const recordings = readFixture('answers-1.36.json') as readonly Recording[]
const variants = readFixture('variants.json') as readonly Variant[]

/** The recorded kubelet's own. */
const RECORDED_DIRECTORY = '/var/lib/kubelet/checkpoints'
export const RECORDED_ID = /[0-9a-f]{64}/
const COMPARED_HEADERS = ['content-type', 'content-length', 'allow', 'location', 'x-content-type-options']

/** What is compared, with the time in the name of an archive taken out. */
export function timeless({ status, headers, body }: KubeletAnswer | RawAnswer): object {
  const compared = COMPARED_HEADERS.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]]))
  return {
    status,
    headers: Object.fromEntries(compared) as object,
    body: body.replace(/-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.tar/, '-TIME.tar'),
  }
}

/** The recording as a kubelet with this directory would have answered. */
export function inDirectory({ status, headers, body }: KubeletAnswer, directory: string): KubeletAnswer {
  if (!body.includes(RECORDED_DIRECTORY)) return { status, headers, body }
  const moved = body.replace(RECORDED_DIRECTORY, directory)
  return { status, headers: { ...headers, 'content-length': String(Buffer.byteLength(moved)) }, body: moved }
}

export function variantNamed(pattern: RegExp): Variant {
  const found = variants.find(({ variant }) => pattern.test(variant))
  if (found === undefined) throw new Error(`Cannot find the variant ${String(pattern)} among the recordings`)
  return found
}

function readFixture(name: string): unknown {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/kubelet', name), 'utf8')) as unknown
}
