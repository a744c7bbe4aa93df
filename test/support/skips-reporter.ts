import type { Reporter, TestModule } from 'vitest/node'

/** Why whole groups of a directory or file are skipped; a single test says so itself. */
const REASONS: readonly (readonly [prefix: string, reason: string])[] = [
  [
    'test/charts/',
    'helm or promtool is missing: run "test/cluster/prepare helm" and "test/cluster/prepare prometheus"',
  ],
  ['test/documentation-commands', 'a program that the documentation uses is missing; the file prints which'],
  ['test/demo/', 'there is no other user on this machine whom the demo could run as'],
  ['test/start-failures', 'file systems cannot be mounted here'],
  ['test/agent/content/encrypting-sink', 'the age program is missing'],
  ['test/archive/tar-end', 'there are no archives in ../shared/archives'],
]

/** Ends the output with the tests that were skipped and why. */
export default class SkipsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = new Map<string, number>()
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const result = test.result()
        const note = result.state === 'skipped' ? result.note : undefined
        const line = `${module.relativeModuleId}: ${note ?? reasonFor(module.relativeModuleId)}`
        skipped.set(line, (skipped.get(line) ?? 0) + 1)
      }
    }
    if (skipped.size === 0) {
      console.log('Nothing was skipped.')
      return
    }
    console.log('Skipped:')
    for (const [line, count] of skipped) console.log(`  ${String(count)} in ${line}`)
  }
}

function reasonFor(path: string): string {
  return REASONS.find(([prefix]) => path.startsWith(prefix))?.[1] ?? 'the file says why'
}
