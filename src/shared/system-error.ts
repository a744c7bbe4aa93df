import { errorText } from './errors.ts'

/**
 * Explanations for operators. The system's own messages repeat the call and the path that our
 * messages already contain.
 */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  EISDIR: 'it is a directory',
  EACCES: 'permission denied',
  EPERM: 'the system does not permit it',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
  ENOTDIR: 'a part of the path is not a directory',
  EEXIST: 'there is something else that is not a directory',
  ELOOP: 'the path has too many symbolic links',
  ENAMETOOLONG: 'the path or a name in it is too long',
  EIO: 'the disk reports an input/output error',
}

/** Explains why a system call failed; a known code becomes a sentence. */
export function systemErrorReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = Object.hasOwn(REASONS, code) ? REASONS[code] : undefined
  return reason === undefined ? errorText(error) : `${reason} (${code})`
}
