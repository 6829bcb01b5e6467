// Takes jobs from a queue in a consumer group: node work.js TOPIC GROUP [COUNT]. A job that failed goes to the end of the queue as a new
// record. Ends when COUNT jobs are settled, or with Ctrl-C.
import { Consumer, Producer, compatibilityPartitioner, stringDeserializers, stringSerializers } from '@platformatic/kafka'

// A job that failed so often is given up.
const deliveriesMax = 3

const [topic, groupId, count = 'Infinity'] = process.argv.slice(2)
if (groupId === undefined) {
  console.error('usage: node work.js TOPIC GROUP [COUNT]')
  process.exit(2)
}
const bootstrapBrokers = (process.env.BOOTSTRAP_SERVERS ?? '127.0.0.1:9092').split(',')
const producer = new Producer({
  clientId: 'guide',
  bootstrapBrokers,
  serializers: stringSerializers,
  idempotent: true,
  partitioner: compatibilityPartitioner
})
const consumer = new Consumer({
  clientId: 'guide',
  groupId,
  bootstrapBrokers,
  deserializers: stringDeserializers,
  autocommit: false
})

// Does a job. What cannot be done stands for work that fails. Returns whether it is settled.
async function attempt (job) {
  const delivery = Number(job.headers.get('delivery') ?? 1)
  const done = job.value !== 'impossible'
  const settled = done || delivery >= deliveriesMax
  if (!settled) {
    // Resolves when it is stored, else rejects.
    await producer.send({ messages: [{ topic, key: job.key, value: job.value, headers: { delivery: String(delivery + 1) } }] })
  }
  const said = done ? 'done' : settled ? 'failed, given up' : 'failed, to be tried again'
  console.log(`partition ${job.partition}, offset ${job.offset}, delivery ${delivery}: ${job.key}=${job.value} ${said}`)
  return settled
}

try {
  // From where the group has committed; from the first job where it has committed nothing.
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest' })
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => stream.close())
  }
  let left = Number(count)
  for await (const job of stream) {
    if (await attempt(job)) left--
    await job.commit() // behind the new record: who dies in between does the job twice, and loses none
    if (left === 0) break
  }
} finally {
  await consumer.close() // leaves the group: others take over at once
  await producer.close()
}
