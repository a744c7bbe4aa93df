import { array, assert, constantFrom, pre, property, stringMatching } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { withoutHostPaths } from '../../src/shared/host-paths.ts'

describe('withoutHostPaths', () => {
  it.each([
    ['there is no socket at /run/containerd/containerd.sock', 'there is no socket at …/containerd.sock'],
    ['connect ENOENT unix:///run/containerd/containerd.sock', 'connect ENOENT unix:…/containerd.sock'],
    ["EIO: i/o error, open '/var/lib/my archives/a.tar'", "EIO: i/o error, open '…/a.tar'"],
    ['Cannot use "/var/lib/kubelet/checkpoints": no', 'Cannot use "…/checkpoints": no'],
    ['path= /run/a/criu-dump.log', 'path= …/criu-dump.log'],
    ['path=/run/a/criu-dump.log: unknown', 'path=…/criu-dump.log: unknown'],
    ['first\n/var/lib/x\nlast', 'first\n…/x\nlast'],
    ['see (/var/lib/x/) and </a/b>', 'see (…/x) and <…/b>'],
    ['["/usr/bin/runc" "--root=/run/runc"]', '["…/runc" "--root=…/runc"]'],
  ])('%j is %j', (text, shown) => {
    expect(withoutHostPaths(text)).toBe(shown)
  })

  it.each([
    'tty: Found slave peer index 0 without correspond master peer, see /dev/pts/0',
    'cannot open /proc/12/ns/net',
    'Put a line "tcp-established" into /etc/criu/runc.conf',
    'rpc error: code = Unknown desc = 5/6 and/or n/a',
    'see https://example.org/a/b',
    'no path at all, and a lone /',
    '',
  ])('%j stays', (text) => {
    expect(withoutHostPaths(text)).toBe(text)
  })

  it('leaves no folder of any path, and does nothing twice', () => {
    const part = stringMatching(/^[a-z0-9._-]{1,12}$/)
    assert(
      property(array(part, { minLength: 2, maxLength: 6 }), constantFrom('"', "'", '', '('), (parts, quote) => {
        pre(!['dev', 'proc', 'sys'].includes(parts[0] ?? ''))
        const text = `it failed: ${quote}/${parts.join('/')}${quote === '(' ? ')' : quote} and so on`
        const shown = withoutHostPaths(text)
        expect(shown).not.toContain(`/${parts.slice(0, 2).join('/')}`)
        expect(shown).toContain(`…/${parts.at(-1) ?? ''}`)
        expect(withoutHostPaths(shown)).toBe(shown)
      }),
    )
  })

  it('takes a long text at once', () => {
    const began = performance.now()
    for (const text of ['/a'.repeat(50_000), `"${'/a'.repeat(50_000)}`, '/'.repeat(100_000), `'/`.repeat(30_000)]) {
      withoutHostPaths(text)
    }
    expect(performance.now() - began).toBeLessThan(1000)
  })
})
