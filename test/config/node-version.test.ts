import { describe, expect, it } from 'vitest'
import { assertNodeVersion } from '../../src/config/node-version.ts'

describe('the version of Node.js', () => {
  it.each(['18.19.0', '20.20.2', '23.11.1', '25.9.0'])('%s is too old, and it is said what to do', (version) => {
    expect(() => {
      assertNodeVersion(version)
    }).toThrow(
      expect.objectContaining({
        message: `Cannot run on Node.js ${version}: it needs 26 or newer`,
        hint: expect.stringContaining('tools/node/node_modules/.bin') as string,
      }),
    )
  })

  it.each(['26.0.0', '26.12.1', '100.1.0', undefined])('%s will do', (version) => {
    expect(() => {
      assertNodeVersion(version)
    }).not.toThrow()
  })
})
