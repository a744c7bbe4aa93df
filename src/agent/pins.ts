import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'

export interface PinNote {
  readonly reason: string | undefined
  readonly by: string
  readonly at: Date
}

/** Writes `<archive>.keep`, the marker that retention and the checkpoint-restore operator leave alone. */
export async function writePin(directory: string, archive: string, { reason, by, at }: PinNote): Promise<void> {
  const marker = join(directory, `${archive}.keep`)
  const note = { pinnedBy: 'checkpoint-agent', user: by, at: at.toISOString(), ...(reason !== undefined && { reason }) }
  await using file = await open(`${marker}.tmp`, 'w', 0o600)
  await file.writeFile(`${JSON.stringify(note)}\n`)
  await file.sync()
  await rename(`${marker}.tmp`, marker)
}
