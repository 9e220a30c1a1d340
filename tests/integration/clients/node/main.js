// KafkaJS itself. It has only gzip of its own.
'use strict'

const assert = require('assert')
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const assignments = new Map()

require('./matrix.js')({
  codecs: ['none', 'gzip'],
  kafka: brokers => new Kafka({ brokers, logLevel: logLevel.NOTHING }),
  producer: (kafka, { idempotent }) => kafka.producer({ idempotent: !!idempotent }),
  sendOptions: ({ codec, acks = -1 }) => ({ acks, compression: codec === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None }),
  consumer: (kafka, groupId) => {
    const c = kafka.consumer({ groupId, heartbeatInterval: 500, sessionTimeout: 10000, maxWaitTimeInMs: 200 })
    c.on(c.events.GROUP_JOIN, e => assignments.set(c, e.payload.memberAssignment))
    c.on(c.events.REBALANCING, () => assignments.delete(c))
    return c
  },
  subscribe: (c, topic) => c.subscribe({ topics: [topic], fromBeginning: true }),
  runOptions: () => ({ autoCommit: false }),
  assigned: (c, topic) => (assignments.get(c) || {})[topic] || [],
  more: {
    admin: async (a, topic) => {
      await a.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
      await a.alterConfigs({ resources: [{ type: 2, name: topic, configEntries: [{ name: 'max.message.bytes', value: '12345' }] }] })
      const { resources } = await a.describeConfigs({ resources: [{ type: 2, name: topic, configNames: ['max.message.bytes'] }] })
      assert.strictEqual(resources[0].configEntries[0].configValue, '12345')
      const { topics } = await a.fetchTopicMetadata({ topics: [topic] })
      assert.strictEqual(topics[0].partitions.length, 4)
    },
    offsets: async (a, topic) => {
      await a.setOffsets({ groupId: topic, topic, partitions: [{ partition: 1, offset: '5' }] })
      await a.resetOffsets({ groupId: topic, topic, earliest: true })
    }
  }
})
