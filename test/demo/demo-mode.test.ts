import { describe, expect, it } from 'vitest'
import { chooseMode } from '../../tools/demo/demo-mode.ts'

describe('chooseMode', () => {
  it.each([
    { wanted: '', obstacle: undefined, headline: /^REAL runtime: containerd 2\.1 and CRIU from Debian packages/ },
    { wanted: 'real', obstacle: undefined, headline: /^REAL runtime: / },
    { wanted: '', obstacle: 'not root', headline: /^SIMULATED runtime: not root; as root on Linux .* a real one$/ },
    { wanted: 'simulated', obstacle: undefined, headline: /^SIMULATED runtime: DEMO=simulated asks for it$/ },
  ])('with DEMO="$wanted" and obstacle $obstacle', async ({ wanted, obstacle, headline }) => {
    const mode = await chooseMode(wanted, () => Promise.resolve(obstacle))
    expect(mode.headline).toMatch(headline)
    expect(mode.kind).toBe(mode.headline.startsWith('REAL') ? 'real' : 'simulated')
  })

  it('does not look at the machine for the simulated one', async () => {
    const looked = new Error('looked')
    expect(await chooseMode('simulated', () => Promise.reject(looked))).toMatchObject({ kind: 'simulated' })
  })

  it('refuses the real one where it cannot be, with the reason', async () => {
    await expect(chooseMode('real', () => Promise.resolve('not root'))).rejects.toMatchObject({
      message: 'Cannot start the demo with DEMO="real": not root',
      exitCode: 1,
    })
  })

  it('refuses other words', async () => {
    await expect(chooseMode('fake', () => Promise.resolve(undefined))).rejects.toMatchObject({
      message: 'Cannot start the demo with DEMO="fake": it must be real or simulated',
      exitCode: 2,
    })
  })
})
