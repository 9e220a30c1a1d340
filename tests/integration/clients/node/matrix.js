// KafkaJS: the broker's address, a prefix for names and the features wanted. node-native runs this as well: its client has
// the same interface.
'use strict'

const assert = require('assert')

const PARTITIONS = 3
const COUNT = 300
const T0 = 1700000000000

const key = i => `k${i}`
const value = i => `v${i} `.repeat(20)
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until(what, condition) {
  for (const end = Date.now() + 40000; !(await condition()); await sleep(20)) assert(Date.now() < end, `not within 40 s: ${what}`)
}

async function raises(pattern, promise) {
  let error = null
  try {
    await promise
  } catch (e) {
    error = e
  }
  assert(error, `nothing raised, wanted ${pattern}`)
  assert(pattern.test(JSON.stringify([error.type, error.errors, error.groups]) + error.stack), `wanted ${pattern}, got ${error.stack}`)
}

// `lib` hides what differs: kafka(address), producer(codec), consumer(group), admin(), CODECS.
module.exports = function run(lib) {
  const [addresses, prefix, wanted] = process.argv.slice(2)
  const kafka = lib.kafka(addresses.split(','))

  async function withAdmin(f) {
    const a = kafka.admin()
    await a.connect()
    try {
      return await f(a)
    } finally {
      await a.disconnect()
    }
  }

  const create = topic => withAdmin(a => a.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }] }))

  async function send(topic, messages, options = {}) {
    const p = lib.producer(kafka, options)
    await p.connect()
    const r = await p.send({ topic, messages, ...lib.sendOptions(options) })
    await p.disconnect()
    return r
  }

  const fill = topic => send(topic, Array.from({ length: COUNT }, (_, i) => ({ key: key(i), value: value(i), partition: i % PARTITIONS, timestamp: String(T0 + i) })))

  async function administration() {
    const topic = prefix + 'a'
    const gone = prefix + 'gone'
    await withAdmin(async a => {
      const entries = [{ name: 'retention.ms', value: '600000' }]
      const made = await a.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1, configEntries: entries }, { topic: gone, numPartitions: 1, replicationFactor: 1 }] })
      assert.strictEqual(made, true)
      assert.strictEqual(await a.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }] }), false) // it is there
      assert((await a.listTopics()).includes(gone))
      await lib.more.admin(a, topic)
      await a.deleteTopics({ topics: [gone] })
      await until('it is deleted', async () => !(await a.listTopics()).includes(gone))
      await raises(/does not host|UNKNOWN_TOPIC|Unknown topic/, a.deleteTopics({ topics: [gone] }))
    })
  }

  async function produce() {
    for (const codec of lib.codecs) {
      await withAdmin(a => a.createTopics({ topics: [{ topic: prefix + 'p-' + codec, numPartitions: 1, replicationFactor: 1 }] }))
      const messages = Array.from({ length: COUNT }, (_, i) => ({ key: key(i), value: i % 50 === 7 ? null : value(i), headers: { h: key(i) } }))
      const r = await send(prefix + 'p-' + codec, messages, { codec, idempotent: codec === 'none' })
      assert.strictEqual(Number(r[0].baseOffset), 0)
    }
    await create(prefix + 'p-acks')
    for (const acks of [0, 1]) await send(prefix + 'p-acks', [{ value: 'x', partition: 0 }], { acks })
  }

  // Runs a consumer until `enough` says so of what came; what came.
  async function read(group, topic, enough, { stepwise, resolve } = {}) {
    const c = lib.consumer(kafka, group)
    const got = []
    await c.connect()
    await lib.subscribe(c, topic)
    await c.run({
      ...lib.runOptions(),
      eachMessage: async ({ partition, message }) => {
        if (stepwise && enough(got)) return
        got.push({ partition, offset: Number(message.offset), key: String(message.key), value: message.value && String(message.value), headers: message.headers, timestamp: message.timestamp })
        if (resolve) await c.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1), metadata: 'note' }])
      }
    })
    try {
      await until(`it is read: ${got.length}`, () => enough(got))
    } finally {
      await c.disconnect()
    }
    return got
  }

  async function consume() {
    for (const codec of lib.codecs) {
      const got = await read(prefix + 'c-' + codec, prefix + 'p-' + codec, l => l.length >= COUNT)
      got.forEach((m, i) => {
        assert.strictEqual(m.offset, i)
        assert.strictEqual(m.key, key(i))
        assert.strictEqual(m.value, i % 50 === 7 ? null : value(i))
        assert.strictEqual(String(m.headers.h), key(i))
      })
    }
    const topic = prefix + 'c'
    await create(topic)
    await fill(topic)
    const ends = await withAdmin(a => a.fetchTopicOffsets(topic))
    assert(ends.length === PARTITIONS && ends.every(p => p.low === '0' && p.high === String(COUNT / PARTITIONS)), JSON.stringify(ends))
    const times = await withAdmin(a => a.fetchTopicOffsetsByTimestamp(topic, T0 + 122))
    assert.strictEqual(times.find(p => p.partition === 1).offset, '41')
    const got = await read(prefix + 'c-c', topic, l => l.length >= COUNT)
    assert.strictEqual(new Set(got.map(m => m.key)).size, COUNT)
    assert(got.every(m => m.timestamp === String(T0 + Number(m.key.slice(1)))))
  }

  async function member(topic) {
    const c = lib.consumer(kafka, topic)
    await c.connect()
    await lib.subscribe(c, topic)
    const m = { c, has: () => lib.assigned(c, topic) }
    await c.run({ ...lib.runOptions(), eachMessage: async () => {} })
    return m
  }

  function split(...members) {
    const all = members.map(m => m.has())
    return all.every(l => l.length) && all.flat().sort().join() === '0,1,2'
  }

  async function groups() {
    const topic = prefix + 'g'
    await create(topic)
    const a = await member(topic)
    await until('one member has all', () => split(a))
    const b = await member(topic)
    await until('two members share', () => split(a, b))
    await withAdmin(async adm => {
      const { groups: [d] } = await adm.describeGroups([topic])
      assert(d.members.length === 2, JSON.stringify(d))
      assert((await adm.listGroups()).groups.some(g => g.groupId === topic))
    })
    await b.c.disconnect()
    await until('the one that stays has all', () => split(a))
    await a.c.disconnect()
  }

  async function offsets() {
    const topic = prefix + 'o'
    await create(topic)
    await fill(topic)
    const first = await read(topic, topic, l => l.length >= 20, { stepwise: true, resolve: true })
    const second = await read(topic, topic, l => l.length >= COUNT - 20)
    assert.strictEqual(first.length, 20)
    assert.strictEqual(new Set([...first, ...second].map(m => m.key)).size, COUNT)
    await withAdmin(async a => {
      const [{ partitions }] = await a.fetchOffsets({ groupId: topic, topics: [topic] })
      const sum = partitions.reduce((n, p) => n + Math.max(Number(p.offset), 0), 0)
      assert.strictEqual(sum, 20, JSON.stringify(partitions))
      await lib.more.offsets(a, topic)
      await a.deleteGroups([topic])
      await raises(/GROUP_ID_NOT_FOUND|group id does not exist/, a.deleteGroups([topic]))
    })
  }

  const features = { admin: administration, produce, consume, groups, offsets }
  ;(async () => {
    let status = 0
    for (const name of wanted.split(',')) {
      try {
        await features[name]()
        console.log(`ok ${name}`)
      } catch (e) {
        console.log(`failed ${name}: ${e.stack || e}`)
        status = 1
      }
    }
    process.exit(status)
  })()
}
