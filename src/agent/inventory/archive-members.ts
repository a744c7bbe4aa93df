import type { MemberList } from '../../archive/member-list.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { ArchiveReader, PageOptions } from '../inspection/archive-reader.ts'

/** Lists the members of an archive. Throws ConflictError if the file is not the one in the index. */
export async function listArchiveMembers(
  { rawName, generation, sizeBytes }: Checkpoint,
  page: PageOptions,
  reader: Pick<ArchiveReader, 'listMembers'>,
): Promise<MemberList> {
  return await reader.listMembers({ path: Buffer.from(rawName), generation, sizeBytes }, page)
}
