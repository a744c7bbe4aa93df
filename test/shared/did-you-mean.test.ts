import { describe, expect, it } from 'vitest'
import { nearestName } from '../../src/shared/did-you-mean.ts'
import { SETTING_KEYS } from '../../src/config/settings.ts'

describe('nearestName', () => {
  it.each([
    ['server.adress', 'server.address'],
    ['Server.Address', 'server.address'],
    ['server.kubelet-endpoint', 'server.kubeletEndpoint'],
    ['queueLimit', 'capture.queueLimit'],
    ['concurrency', undefined],
    ['agent.capture.minimumWait', 'capture.minimumWait'],
    ['directory', undefined],
    ['colour', undefined],
    ['', undefined],
    ['x'.repeat(10_000), undefined],
  ])('finds for %s: %s', (name, meant) => {
    expect(nearestName(name, SETTING_KEYS)).toBe(meant)
  })
})
