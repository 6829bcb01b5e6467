// Consumes in a group: node consume.js TOPIC GROUP [COUNT]. Ends after COUNT records, or with Ctrl-C.
import { Consumer, stringDeserializers } from '@platformatic/kafka'

const [topic, groupId, count = 'Infinity'] = process.argv.slice(2)
if (groupId === undefined) {
  console.error('usage: node consume.js TOPIC GROUP [COUNT]')
  process.exit(2)
}
const consumer = new Consumer({
  clientId: 'guide',
  groupId,
  bootstrapBrokers: (process.env.BOOTSTRAP_SERVERS ?? '127.0.0.1:9092').split(','),
  deserializers: stringDeserializers,
  autocommit: false
})
try {
  // From where the group has committed; from the first record where it has committed nothing.
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest' })
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => stream.close())
  }
  let left = Number(count)
  for await (const record of stream) {
    console.log(`partition ${record.partition}, offset ${record.offset}: ${record.key}=${record.value}`)
    await record.commit() // the work is done
    if (--left === 0) break
  }
} finally {
  await consumer.close() // leaves the group: others take over at once
}
