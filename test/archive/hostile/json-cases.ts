import { rawMember } from '../../support/raw-tar.ts'
import { honestMembers, type HostileCase, jsonOf, tarOf, withMember } from './hostile-case.ts'

/** What the images tell does not need the JSON. */
const IMAGES_READ = { processCount: 2, criuVersion: '4.2.1' }

const changed = (name: string, from: string | RegExp, to: string) => {
  const text = jsonOf(name)
  const other = text.replace(from, to)
  if (other === text) throw new Error(`${name} has no ${String(from)}`)
  return withMember(name, other)
}

export const jsonCases: readonly HostileCase[] = [
  {
    name: 'a spec.dump of no bytes',
    archive: () => withMember('spec.dump', ''),
    code: 'JsonInvalid',
    summary: IMAGES_READ,
  },
  { name: 'a spec.dump that is text', archive: () => withMember('spec.dump', 'hello'), code: 'JsonInvalid' },
  {
    name: 'a config.dump cut off',
    archive: () => withMember('config.dump', jsonOf('config.dump').slice(0, -9)),
    code: 'JsonInvalid',
  },
  {
    name: 'a config.dump with text behind it',
    archive: () => withMember('config.dump', `${jsonOf('config.dump')} {}`),
    code: 'JsonInvalid',
  },
  { name: 'a comma too many', archive: () => withMember('config.dump', '{"id":"a",}'), code: 'JsonInvalid' },
  {
    name: 'an escape that JSON does not have',
    archive: () => withMember('config.dump', '{"id":"\\x41"}'),
    code: 'JsonInvalid',
  },
  {
    name: 'a NUL in a text that nobody reads',
    archive: () => withMember('config.dump', '{"other":"\0"}'),
    code: 'JsonInvalid',
  },
  {
    name: 'a spec.dump of five mebibytes',
    archive: () => withMember('spec.dump', `{"annotations":{"a":"${'x'.repeat(5 * 1024 * 1024)}"}}`),
    code: 'JsonTooLarge',
    summary: IMAGES_READ,
  },
  {
    name: 'a hundred thousand brackets',
    archive: () => withMember('spec.dump', `{"process":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    code: 'JsonTooDeep',
    summary: IMAGES_READ,
  },
  {
    name: 'a hundred thousand objects in each other',
    archive: () => withMember('spec.dump', `{"process":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`),
    code: 'JsonTooDeep',
  },
  {
    name: 'bytes that are not UTF-8',
    archive: () =>
      withMember('config.dump', Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])),
    code: 'JsonNotUtf8',
  },
  { name: 'a spec.dump that is null', archive: () => withMember('spec.dump', 'null'), code: 'JsonNotAnObject' },
  {
    name: 'a config.dump that is a list',
    archive: () => withMember('config.dump', '[{"id":"a"}]'),
    code: 'JsonNotAnObject',
  },
  {
    name: 'two ids, of which tools read different ones',
    archive: () => changed('config.dump', '{', '{"id":"other",'),
    code: 'JsonDuplicateKey',
  },
  {
    name: 'two pods in the annotations',
    archive: () => changed('spec.dump', '"annotations":{', '"annotations":{"io.kubernetes.cri.sandbox-name":"other",'),
    code: 'JsonDuplicateKey',
    summary: { claim: { isContradictory: false } },
  },
  {
    name: 'annotations twice',
    archive: () => changed('spec.dump', '{', '{"annotations":{"io.container.manager":"libpod"},'),
    code: 'JsonDuplicateKey',
  },
  {
    name: 'a key that Go would take for another',
    archive: () => changed('config.dump', '{', '{"ID":"other",'),
    code: 'JsonKeyCase',
  },
  {
    name: 'a key with the Kelvin sign, which Go would take for another',
    archive: () => changed('status.dump', '"image_ref"', '"image_re\u017f":1,"Image_Id":"x","image_ref"'),
    code: 'JsonKeyCase',
  },
  {
    name: 'a number where the name belongs',
    archive: () => changed('config.dump', /"name":"[^"]*"/, '"name":4711'),
    code: 'JsonFieldType',
  },
  {
    name: 'an object where a time belongs',
    archive: () => changed('config.dump', /"createdTime":"[^"]*"/, '"createdTime":{}'),
    code: 'JsonFieldType',
  },
  {
    name: 'a text where the annotations belong',
    archive: () => withMember('spec.dump', '{"annotations":"io.container.manager"}'),
    code: 'JsonFieldType',
  },
  {
    name: 'a text where nanoseconds belong',
    archive: () => changed('status.dump', /"created_at":\d+/, '"created_at":"now"'),
    code: 'JsonFieldType',
  },
  {
    name: 'nanoseconds with a fraction',
    archive: () => changed('status.dump', /"created_at":\d+/, '"created_at":1.5'),
    code: 'JsonNumber',
  },
  {
    name: 'nanoseconds of a thousand digits',
    archive: () => changed('status.dump', /"created_at":\d+/, `"created_at":${'9'.repeat(1000)}`),
    code: 'JsonNumber',
  },
  {
    name: 'minus one restarts',
    archive: () => changed('status.dump', '"metadata":{', '"metadata":{"attempt":-1,'),
    code: 'JsonNumber',
  },
  {
    name: 'nanoseconds beyond 64 bits',
    archive: () => changed('status.dump', /"created_at":\d+/, '"created_at":18446744073709551615'),
    code: 'TimeInvalid',
  },
  {
    name: 'negative nanoseconds',
    archive: () => changed('status.dump', /"started_at":\d+/, '"started_at":-5'),
    code: 'TimeInvalid',
  },
  {
    name: 'negative nanoseconds in the status that counts only without the other',
    archive: () =>
      tarOf(
        ...honestMembers().flatMap(({ name, blocks, content }) => {
          if (name === 'status.dump') return []
          const text = content.toString('latin1')
          return [name === 'status' ? rawMember({ name }, text.replace(/"StartedAt":\d+/, '"StartedAt":-5')) : blocks]
        }),
      ),
    code: 'TimeInvalid',
  },
  {
    name: 'the 31st of February',
    archive: () => changed('config.dump', /"checkpointedTime":"[^"]*"/, '"checkpointedTime":"2026-02-31T00:00:00Z"'),
    code: 'TimeInvalid',
  },
  {
    name: 'a time in words',
    archive: () => changed('config.dump', /"checkpointedTime":"[^"]*"/, '"checkpointedTime":"tomorrow"'),
    code: 'TimeInvalid',
  },
  {
    name: 'an image of a hundred thousand characters',
    archive: () => changed('config.dump', /"rootfsImageName":"[^"]*"/, `"rootfsImageName":"${'a'.repeat(100_000)}"`),
    code: 'TextTooLong',
  },
  {
    name: 'an archive that contradicts itself',
    archive: () =>
      changed('status.dump', '"io.kubernetes.pod.namespace":"shop"', '"io.kubernetes.pod.namespace":"bank"'),
    code: 'IdentityDisagrees',
    state: 'whole',
    summary: { claim: { namespace: 'shop', isContradictory: true } },
  },
  {
    name: '__proto__ and constructor among the annotations, which are data',
    archive: () =>
      changed('spec.dump', '"annotations":{', '"annotations":{"__proto__":{"polluted":true},"constructor":"x",'),
    code: 'none',
    state: 'whole',
    summary: { claim: { pod: 'web-0' } },
  },
  {
    name: 'numbers beyond 2^53 where nobody reads them',
    archive: () => changed('spec.dump', '{', '{"rlimits":[{"hard":18446744073709551615,"soft":1e400}],'),
    code: 'none',
    state: 'whole',
    summary: { claim: { pod: 'web-0' } },
  },
  {
    name: 'escape sequences and reordered text in the name of the image',
    archive: () =>
      changed('config.dump', /"rootfsImageName":"[^"]*"/, '"rootfsImageName":"a\\u001b[2J\\u202eb\\ud800"'),
    code: 'none',
    state: 'whole',
    summary: { image: { name: 'a\\x1b[2J\\u{202e}b\\u{d800}' } },
  },
]
