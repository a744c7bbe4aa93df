/**
 * node-keeper.ts NAME: outlives the process that started the node and removes the node after it. Its standard input is a
 * pipe that only the owner holds, so its end is the owner's end: Ctrl-C, an exit without `stop()`, or kill -9.
 */
import { finished } from 'node:stream/promises'
import { findNode } from './node-registry.ts'
import { removeNode } from './node-removal.ts'

const [, , name] = process.argv
if (name === undefined) throw new Error('Cannot keep a node: its name is not given')

process.stdin.resume()
await finished(process.stdin)
// after an orderly stop the name may already belong to another node
if (findNode(name)?.keeper?.pid === process.pid) await removeNode(name)
