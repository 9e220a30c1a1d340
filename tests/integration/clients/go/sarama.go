package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

var saramaClient = map[string]func(){
	"admin": saramaAdmin, "produce": saramaProduce, "consume": saramaConsume, "groups": saramaGroups, "offsets": saramaOffsets,
}

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Metadata.RefreshFrequency = time.Second
	return c
}

func saramaCreate(topic string) {
	a := get(sarama.NewClusterAdmin(addresses, saramaConfig()))
	defer a.Close()
	must(a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
}

func saramaFill(topic string) {
	c := saramaConfig()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	p := get(sarama.NewSyncProducer(addresses, c))
	defer p.Close()
	var all []*sarama.ProducerMessage
	for i := range count {
		all = append(all, &sarama.ProducerMessage{Topic: topic, Partition: int32(i % partitions), Key: sarama.StringEncoder(key(i)),
			Value: sarama.StringEncoder(value(i)), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))})
	}
	must(p.SendMessages(all))
	for i, m := range all {
		check(m.Offset == int64(i/partitions), "offset %d of record %d", m.Offset, i)
	}
}

func saramaAdmin() {
	a := get(sarama.NewClusterAdmin(addresses, saramaConfig()))
	defer a.Close()
	topic, gone, ms, big := prefix+"a", prefix+"gone", "600000", "12345"
	must(a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &ms}}, false))
	must(a.CreateTopic(gone, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	err := a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false)
	check(errors.Is(err, sarama.ErrTopicAlreadyExists), "made twice: %v", err)
	must(a.CreatePartitions(topic, 4, nil, false))
	until("four partitions", func() bool { return len(get(a.DescribeTopics([]string{topic}))[0].Partitions) == 4 })
	must(a.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &big}}, false))
	found := map[string]string{}
	for _, e := range get(a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})) {
		found[e.Name] = e.Value
	}
	check(found["retention.ms"] == ms && found["max.message.bytes"] == big, "%v", found)
	_, listed := get(a.ListTopics())[gone]
	check(listed, "listed")
	must(a.DeleteTopic(gone))
	_, listed = get(a.ListTopics())[gone]
	check(!listed, "deleted")
	err = a.DeleteTopic(gone)
	check(errors.Is(err, sarama.ErrUnknownTopicOrPartition), "deleted twice: %v", err)
	brokers, _, err := a.DescribeCluster()
	must(err)
	check(len(brokers) >= 1, "brokers")
}

var saramaCodecs = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

func saramaProduce() {
	for name, codec := range saramaCodecs {
		c := saramaConfig()
		c.Producer.Compression = codec
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
		p := get(sarama.NewSyncProducer(addresses, c))
		var all []*sarama.ProducerMessage
		for i := range count {
			m := &sarama.ProducerMessage{Topic: prefix + "p-" + name, Key: sarama.StringEncoder(key(i)), Value: sarama.StringEncoder(value(i)),
				Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(key(i))}}}
			if i%50 == 7 {
				m.Value = nil
			}
			all = append(all, m)
		}
		must(p.SendMessages(all))
		for i, m := range all {
			check(m.Offset == int64(i), "offset %d of record %d", m.Offset, i)
		}
		must(p.Close())
	}
	for _, acks := range []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal} {
		c := saramaConfig()
		c.Producer.RequiredAcks = acks
		p := get(sarama.NewSyncProducer(addresses, c))
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: prefix + "p-acks", Value: sarama.StringEncoder("x")})
		must(err)
		must(p.Close())
	}
}

func saramaRead(p sarama.PartitionConsumer, n int) (got []*sarama.ConsumerMessage) {
	for len(got) < n {
		select {
		case m := <-p.Messages():
			got = append(got, m)
		case <-time.After(30 * time.Second):
			check(false, "read %d of %d", len(got), n)
		}
	}
	return got
}

func saramaConsume() {
	c := get(sarama.NewConsumer(addresses, saramaConfig()))
	defer c.Close()
	for name := range saramaCodecs {
		p := get(c.ConsumePartition(prefix+"p-"+name, 0, sarama.OffsetOldest))
		for i, r := range saramaRead(p, count) {
			want := value(i)
			if i%50 == 7 {
				want = ""
			}
			check(string(r.Key) == key(i) && string(r.Value) == want && string(r.Headers[0].Value) == key(i), "record %d", i)
		}
		must(p.Close())
	}
	topic := prefix + "c"
	saramaCreate(topic)
	saramaFill(topic)
	p := get(c.ConsumePartition(topic, 1, 60))
	check(saramaRead(p, 40)[0].Offset == 60, "at 60")
	must(p.Close())
	client := get(sarama.NewClient(addresses, saramaConfig()))
	defer client.Close()
	check(get(client.GetOffset(topic, 2, sarama.OffsetNewest)) == count/partitions, "end")
	check(get(client.GetOffset(topic, 1, 1_700_000_000_122)) == 41, "by time")
	_, err := c.ConsumePartition(topic, 1, 5000)
	check(errors.Is(err, sarama.ErrOffsetOutOfRange), "past the end: %v", err)
}

type saramaMember struct {
	has
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	done   chan error
	take   func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)
	topic  string
}

func (m *saramaMember) Setup(s sarama.ConsumerGroupSession) error {
	m.replace(s.Claims()[m.topic])
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error {
	m.replace(nil)
	return nil
}

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for r := range c.Messages() {
		if m.take != nil {
			m.Lock()
			m.take(s, r)
			m.Unlock()
		}
	}
	return nil
}

func saramaJoin(topic string, take func(sarama.ConsumerGroupSession, *sarama.ConsumerMessage)) *saramaMember {
	m := &saramaMember{group: get(sarama.NewConsumerGroup(addresses, topic, saramaConfig())), done: make(chan error, 1), take: take, topic: topic}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		for ctx.Err() == nil {
			if err := m.group.Consume(ctx, []string{topic}, m); err != nil {
				m.done <- err
				return
			}
		}
		m.done <- nil
	}()
	return m
}

func (m *saramaMember) leave() {
	m.cancel()
	must(<-m.done)
	must(m.group.Close())
}

func saramaGroups() {
	topic := prefix + "g"
	saramaCreate(topic)
	a := saramaJoin(topic, nil)
	until("one member has all", func() bool { return split(&a.has) })
	b := saramaJoin(topic, nil)
	until("two members share", func() bool { return split(&a.has, &b.has) })
	adm := get(sarama.NewClusterAdmin(addresses, saramaConfig()))
	defer adm.Close()
	d := get(adm.DescribeConsumerGroups([]string{topic}))[0]
	check(d.State == "Stable" && len(d.Members) == 2, "%v", d)
	_, listed := get(adm.ListConsumerGroups())[topic]
	check(listed, "listed")
	b.leave()
	until("the one that stays has all", func() bool { return split(&a.has) })
	a.leave()
}

func saramaOffsets() {
	topic := prefix + "o"
	saramaCreate(topic)
	saramaFill(topic)
	seen := map[string]bool{}
	m := saramaJoin(topic, func(s sarama.ConsumerGroupSession, r *sarama.ConsumerMessage) {
		if len(seen) < 100 {
			seen[string(r.Key)] = true
			s.MarkMessage(r, "note")
			if len(seen)%10 == 0 {
				s.Commit()
			}
		}
	})
	until("100 are committed", func() bool { m.Lock(); defer m.Unlock(); return len(seen) == 100 })
	m.leave()
	twice := ""
	m = saramaJoin(topic, func(s sarama.ConsumerGroupSession, r *sarama.ConsumerMessage) {
		if seen[string(r.Key)] {
			twice = string(r.Key)
		}
		seen[string(r.Key)] = true
	})
	until("all is read", func() bool { m.Lock(); defer m.Unlock(); return len(seen) == count })
	m.leave()
	check(twice == "", "read twice: %s", twice)
	adm := get(sarama.NewClusterAdmin(addresses, saramaConfig()))
	defer adm.Close()
	sum := int64(0)
	for p := range int32(partitions) {
		b := get(adm.ListConsumerGroupOffsets(topic, map[string][]int32{topic: {p}})).GetBlock(topic, p)
		must2(b.Err)
		if b.Offset > 0 {
			sum += b.Offset
			check(b.Metadata == "note", "metadata %q", b.Metadata)
		}
	}
	check(sum == 100, "%d of 100 are committed", sum)
	must(adm.DeleteConsumerGroupOffset(topic, topic, 0))
	must(adm.DeleteConsumerGroup(topic))
	err := adm.DeleteConsumerGroup(topic)
	check(errors.Is(err, sarama.ErrGroupIDNotFound), "deleted twice: %v", err)
}

func must2(e sarama.KError) {
	check(e == sarama.ErrNoError, "%v", e)
}
