import type { MemberList } from '../../archive/member-list.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { ArchiveReader, PageOptions } from '../inspection/archive-reader.ts'

/** The members of an archive. Throws ConflictError when the file is not the one of the index any more. */
export async function listArchiveMembers(
  { rawName, generation, sizeBytes }: Checkpoint,
  page: PageOptions,
  reader: Pick<ArchiveReader, 'listMembers'>,
): Promise<MemberList> {
  return await reader.listMembers({ path: Buffer.from(rawName), generation, sizeBytes }, page)
}
