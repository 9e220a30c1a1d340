// @confluentinc/kafka-javascript: librdkafka in Node.js, with KafkaJS's interface. It runs node/matrix.js, copied beside it.
'use strict'

const assert = require('assert')
const { Kafka, logLevel } = require('@confluentinc/kafka-javascript').KafkaJS

require('./matrix.js')({
  codecs: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
  kafka: brokers => new Kafka({ kafkaJS: { brokers, logLevel: logLevel.NOTHING } }),
  producer: (kafka, { codec = 'none', idempotent, acks = -1 }) => kafka.producer({ kafkaJS: { idempotent: !!idempotent, acks, compression: codec } }),
  sendOptions: () => ({}),
  consumer: (kafka, groupId) => kafka.consumer({
    kafkaJS: { groupId, fromBeginning: true, autoCommit: false, heartbeatInterval: 500, sessionTimeout: 10000 },
    'topic.metadata.refresh.interval.ms': 1000
  }),
  subscribe: (c, topic) => c.subscribe({ topics: [topic] }),
  runOptions: () => ({}),
  assigned: (c, topic) => c.assignment().filter(p => p.topic === topic).map(p => p.partition),
  more: {
    admin: async (a, topic) => {
      const topics = await a.fetchTopicMetadata({ topics: [topic] })
      assert.strictEqual((topics.topics || topics)[0].partitions.length, 2)
    },
    offsets: async () => {}
  }
})
