import process from 'node:process'

/**
 * Loads `node:http` without the cost of an `import`. An import reads every export of the module and thereby loads
 * Node.js' own fetch, which takes about 50 ms and several MB.
 */
export const { createServer, STATUS_CODES } = process.getBuiltinModule('node:http')
