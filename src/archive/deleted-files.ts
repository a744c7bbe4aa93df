import { isUtf8 } from 'node:buffer'
import type { Problem } from '../checkpoint/problem.ts'
import { MAX_JSON_BYTES, MAX_NAME_BYTES } from './archive-limits.ts'
import { archiveProblem } from './archive-problem.ts'
import { plainText } from './plain-text.ts'

export const DELETED_FILES = 'deleted.files'

/**
 * Parses the list of deleted files that CRI-O and Podman write: a JSON list of absolute paths.
 * Returns paths that are safe to display, without the leading slash.
 */
export function readDeletedFiles(bytes: Buffer, onProblem: (problem: Problem) => void): ReadonlySet<string> {
  const paths = new Set<string>()
  for (const path of readTexts(bytes, onProblem)) {
    if (path.length > MAX_NAME_BYTES)
      onProblem(archiveProblem('TextTooLong', `${DELETED_FILES} has a path of ${path.length} characters`))
    else paths.add(plainText(path.replace(/^\/+|\/+$/g, '')))
  }
  return paths
}

function readTexts(bytes: Buffer, onProblem: (problem: Problem) => void): readonly string[] {
  if (bytes.length > MAX_JSON_BYTES) {
    onProblem(archiveProblem('JsonTooLarge', `${DELETED_FILES} has more than ${MAX_JSON_BYTES} bytes`))
    return []
  }
  if (!isUtf8(bytes)) {
    onProblem(archiveProblem('JsonNotUtf8', `${DELETED_FILES} is not UTF-8`))
    return []
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(bytes.toString('utf8'))
  } catch {
    onProblem(archiveProblem('JsonInvalid', `${DELETED_FILES} is no JSON`))
    return []
  }
  if (parsed === null) return []
  if (Array.isArray(parsed) && parsed.every((item) => typeof item === 'string')) return parsed
  onProblem(archiveProblem('JsonFieldType', `${DELETED_FILES} is no list of texts`))
  return []
}
