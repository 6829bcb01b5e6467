// Reads again from a time: node replay.js TOPIC TIME, for example node replay.js orders 2026-11-22T10:00:00Z
import { randomUUID } from 'node:crypto'
import { Consumer, stringDeserializers } from '@platformatic/kafka'

const [topic, since] = process.argv.slice(2)
if (Number.isNaN(Date.parse(since))) {
  console.error('usage: node replay.js TOPIC TIME')
  process.exit(2)
}
const consumer = new Consumer({
  clientId: 'guide',
  groupId: `replay-${randomUUID()}`, // this client reads in groups only: one of its own, which commits nothing
  bootstrapBrokers: (process.env.BOOTSTRAP_SERVERS ?? '127.0.0.1:9092').split(','),
  deserializers: stringDeserializers,
  autocommit: false
})
try {
  // By partition: the first offset whose record is not older, -1 where there is none; and where the partition ends now.
  const starts = (await consumer.listOffsets({ topics: [topic], timestamp: BigInt(Date.parse(since)) })).get(topic)
  const ends = (await consumer.listOffsets({ topics: [topic] })).get(topic)
  const offsets = starts.map((offset, partition) => ({ topic, partition, offset })).filter(start => start.offset >= 0n)
  const left = new Map(offsets.map(({ partition }) => [partition, ends[partition]]))
  console.log(`${await replay(offsets, left)} records since ${since}`)
} finally {
  await consumer.close()
}

// Prints what is there from `offsets` until nothing is `left` before the ends; returns how many records that were.
async function replay(offsets, left) {
  if (left.size === 0) return 0
  let count = 0
  const stream = await consumer.consume({ topics: [topic], mode: 'manual', offsets })
  for await (const { timestamp, partition, offset, key, value } of stream) {
    const end = left.get(partition)
    if (end === undefined) continue // it came after we asked for the end
    count++
    console.log(`${new Date(Number(timestamp)).toISOString()} partition ${partition}, offset ${offset}: ${key}=${value}`)
    if (offset + 1n >= end) left.delete(partition)
    if (left.size === 0) break
  }
  return count
}
