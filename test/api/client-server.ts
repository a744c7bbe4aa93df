import { OPEN_TO_ALL } from '../../src/access/access.ts'
import { ApiClient } from '../../src/api/client.ts'
import type { ClientOptions } from '../../src/api/client-transport.ts'
import { startApp, type ServiceChanges } from '../http/http-services.ts'
import { serve } from '../http/role-services.ts'

/** A client of the app with these services, until the test has finished. */
export async function startClient(
  changes: ServiceChanges = {},
  options: Omit<ClientOptions, 'baseUrl'> = {},
): Promise<ApiClient> {
  return new ApiClient({ ...options, baseUrl: `http://127.0.0.1:${await startApp(changes)}` })
}

/** Services behind every operation; everybody may call them. */
export function everyService(): ServiceChanges {
  return { ...serve(), access: OPEN_TO_ALL }
}
