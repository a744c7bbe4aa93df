import { expect, it } from 'vitest'
import { checkpointId } from '../../src/checkpoint/checkpoint-id.ts'

const NAME = 'checkpoint-web-0_shop-counter-2026-11-20T21:34:07Z.tar'

it('is the same for a name and for its bytes, for ever', () => {
  expect(checkpointId(NAME)).toBe('d56908642f27f837')
  expect(checkpointId(Buffer.from(NAME))).toBe(checkpointId(NAME))
})

it('differs between names that look alike', () => {
  const names = [NAME, `${NAME} `, Buffer.from([0xff]), Buffer.from([0xfe]), '\ufffd']
  expect(new Set(names.map(checkpointId)).size).toBe(names.length)
})
