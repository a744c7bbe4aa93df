/** Late, since most agents are given a certificate: the library takes some 20 MB and a fifth of a second. */
export async function importX509() {
  provideReflectMetadata()
  return import('@peculiar/x509')
}

/** The library's injector asks for three functions of a proposal that no engine has, and for no more of them than this. */
function provideReflectMetadata(): void {
  if ('getMetadata' in Reflect) return
  const known = new WeakMap<object, Map<unknown, unknown>>()
  const getOwnMetadata = (key: unknown, target: object) => known.get(target)?.get(key)
  const getMetadata = (key: unknown, target: object | null): unknown => {
    return target === null
      ? undefined
      : (getOwnMetadata(key, target) ?? getMetadata(key, Reflect.getPrototypeOf(target)))
  }
  const defineMetadata = (key: unknown, value: unknown, target: object) => {
    known.set(target, (known.get(target) ?? new Map<unknown, unknown>()).set(key, value))
  }
  Object.assign(Reflect, { getOwnMetadata, getMetadata, defineMetadata })
}
