// Produces records: node produce.js TOPIC KEY=VALUE...
import { Producer, compatibilityPartitioner, stringSerializers } from '@platformatic/kafka'

const [topic, ...pairs] = process.argv.slice(2)
if (pairs.length === 0 || !pairs.every(pair => pair.includes('='))) {
  console.error('usage: node produce.js TOPIC KEY=VALUE...')
  process.exit(2)
}
const producer = new Producer({
  clientId: 'guide',
  bootstrapBrokers: (process.env.BOOTSTRAP_SERVERS ?? '127.0.0.1:9092').split(','),
  serializers: stringSerializers,
  idempotent: true, // acks=all, and a retry neither repeats nor reorders
  partitioner: compatibilityPartitioner, // a key goes where the clients of other languages put it
  autocreateTopics: true
})
try {
  const messages = pairs.map(pair => {
    const [key, ...value] = pair.split('=')
    return { topic, key, value: value.join('=') }
  })
  // Resolves when all of them are stored, else rejects. It tells the first offset in each partition.
  const { offsets } = await producer.send({ messages })
  for (const { partition, offset } of offsets) {
    console.log(`stored in partition ${partition} from offset ${offset}`)
  }
} finally {
  await producer.close()
}
