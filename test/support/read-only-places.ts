// read-only-places.ts DIRECTORY: what an agent says of places in a directory whose file system is read-only, as JSON.
import { createServer } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { lockDirectory } from '../../src/agent/directory/directory-lock.ts'
import { prepareStaging } from '../../src/agent/directory/staging.ts'
import { listenOnUnixSocket } from '../../src/http/unix-socket.ts'
import { errorText } from '../../src/shared/errors.ts'
import { makePrivateFolder } from '../../src/store/database.ts'

const [directory = ''] = process.argv.slice(2)
const nested = join(directory, 'a/b')

const places: Readonly<Record<string, () => unknown>> = {
  'a checkpoint directory to be made': () => prepareStaging(nested),
  'a checkpoint directory': () => prepareStaging(directory),
  'a state directory to be made': () => {
    makePrivateFolder(nested)
  },
  'a state directory': () => lockDirectory(directory, 'state.directory'),
  'a unix socket': () => listenOnUnixSocket(createServer(), join(directory, 'agent.sock')),
}

const said: Record<string, string> = {}
for (const [place, use] of Object.entries(places)) {
  try {
    await use()
    said[place] = 'it can be used'
  } catch (error) {
    said[place] = errorText(error)
  }
}
process.stdout.write(JSON.stringify(said))
