import { z } from 'zod'

export const kubeletResult = z.object({
  items: z.array(z.string()).describe('The absolute path of the archive on the node'),
})

export type KubeletResult = z.infer<typeof kubeletResult>
