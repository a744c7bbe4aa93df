import { afterAll, beforeAll } from 'vitest'
import { removePods, runCounter } from './agent-pods.ts'
import { type ArchiveFolder, emptyArchiveFolders, findArchiveFolder } from './archive-folder.ts'
import { cluster, type NodeName } from './cluster-harness.ts'
import { INSTALL_MS, installChart, NODES, removeChart } from './installed-chart.ts'

export interface ChartFixture {
  readonly folderOf: (node: NodeName) => ArchiveFolder
}

/** For the whole file: the chart with these values, and the pods counter-a and counter-b in "shop". Nothing of it is left at the end. */
export function useChart(values: object): ChartFixture {
  const folders = new Map<NodeName, ArchiveFolder>()

  beforeAll(async () => {
    await cluster.up()
    await emptyArchiveFolders(NODES)
    for (const node of NODES) folders.set(node, await findArchiveFolder(node))
    await Promise.all(NODES.map((node) => runCounter(node)))
    await installChart(values)
  }, INSTALL_MS)

  afterAll(async () => {
    await removeChart()
    for (const node of NODES) await removePods(node)
    for (const folder of folders.values()) folder.clear()
  })

  return {
    folderOf(node) {
      const folder = folders.get(node)
      if (folder === undefined) throw new Error(`Cannot look into the archives of node "${node}": it was not prepared`)
      return folder
    },
  }
}
