import { errorText } from './errors.ts'

/** What an operator calls it; the system's own texts name a call and a path that the message has already. */
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

/** Says why a system call failed, in words where its code is a known one. */
export function systemErrorReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = Object.hasOwn(REASONS, code) ? REASONS[code] : undefined
  return reason === undefined ? errorText(error) : `${reason} (${code})`
}
