import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { nextSteps, type NextStepFacts } from '../../tools/demo/next-steps.ts'

const FACTS: NextStepFacts = {
  port: 9444,
  socketPath: '/tmp/demo/agent.sock',
  archivePath: '/tmp/demo/checkpoint-web-0_shop-counter-2026-01-02T03:04:05Z.tar',
  hasJq: true,
  hasProxy: false,
  needsSudo: false,
}

describe('nextSteps', () => {
  it('speaks to the port that the agent has', () => {
    const commands = commandsOf(FACTS)
    expect(commands[0]).toBe('curl -sS http://127.0.0.1:9444/v1/containers | jq .')
    expect(commands.join('\n')).not.toContain('9443')
  })

  it('ends the answers with a line feed where there is no jq', () => {
    expect(commandsOf({ ...FACTS, hasJq: false })[0]).toBe(`curl -sS -w '\\n' http://127.0.0.1:9444/v1/containers`)
  })

  it('keeps the requests away from a proxy', () => {
    const curls = commandsOf({ ...FACTS, hasProxy: true }).filter((command) => command.startsWith('curl'))
    expect(curls.filter((command) => !command.startsWith("curl -sS --noproxy '*' "))).toEqual([])
  })

  it("uses sudo for root's files and socket, and for nothing else", () => {
    const withSudo = commandsOf({ ...FACTS, needsSudo: true }).filter((command) => command.startsWith('sudo '))
    expect(withSudo.map((command) => command.split(' ')[1])).toEqual(['curl', 'tar', 'tar'])
    expect(withSudo[0]).toContain('--unix-socket')
  })

  it.each(['/tmp/plain', '/tmp/with space', "/tmp/it's", '/tmp/$HOME;`id`'])(
    'gives the shell the path %j whole',
    (folder) => {
      const command = commandsOf({ ...FACTS, archivePath: `${folder}/a.tar` }).find((each) => each.includes('-tvf'))
      const seen = execFileSync('sh', ['-c', `tar() { printf '%s|' "$@"; }; ${command}`], { encoding: 'utf8' })
      expect(seen).toBe(`-tvf|${folder}/a.tar|`)
    },
  )
})

function commandsOf(facts: NextStepFacts): readonly string[] {
  return nextSteps(facts).map(({ command }) => command)
}
