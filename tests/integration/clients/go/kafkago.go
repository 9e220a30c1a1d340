package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

var kafkaGo = map[string]func(){
	"admin": kafkaGoAdmin, "produce": kafkaGoProduce, "consume": kafkaGoConsume, "groups": kafkaGoGroups, "offsets": kafkaGoOffsets,
}

func kafkaGoClient() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(addresses...), Timeout: 20 * time.Second}
}

func kafkaGoCreate(topic string, n int) error {
	r, err := kafkaGoClient().CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic,
		NumPartitions: n, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "600000"}}}}})
	must(err)
	return r.Errors[topic]
}

// Each partition gets its records in order, with the balancer that goes round.
func kafkaGoFill(topic string) {
	w := &kafka.Writer{Addr: kafka.TCP(addresses...), Topic: topic, Balancer: &kafka.RoundRobin{}, BatchTimeout: 10 * time.Millisecond,
		RequiredAcks: kafka.RequireAll}
	var all []kafka.Message
	for i := range count {
		all = append(all, kafka.Message{Key: []byte(key(i)), Value: []byte(value(i)), Time: time.UnixMilli(1_700_000_000_000 + int64(i))})
	}
	must(w.WriteMessages(context.Background(), all...))
	must(w.Close())
}

func kafkaGoAdmin() {
	c, ctx, topic, gone := kafkaGoClient(), context.Background(), prefix+"a", prefix+"gone"
	must(kafkaGoCreate(topic, 2))
	must(kafkaGoCreate(gone, 1))
	err := kafkaGoCreate(topic, 1)
	check(errors.Is(err, kafka.TopicAlreadyExists), "made twice: %v", err)
	r := get(c.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 4,
		TopicPartitionAssignments: nil}}}))
	must(r.Errors[topic])
	until("four partitions", func() bool {
		return len(get(c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})).Topics[0].Partitions) == 4
	})
	i := get(c.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "max.message.bytes", Value: "12345", ConfigOperation: kafka.ConfigOperationSet}}}}}))
	must(i.Resources[0].Error)
	found := map[string]string{}
	for _, e := range get(c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}}})).Resources[0].ConfigEntries {
		found[e.ConfigName] = e.ConfigValue
	}
	check(found["retention.ms"] == "600000" && found["max.message.bytes"] == "12345", "%v", found)
	must(get(c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{gone}})).Errors[gone])
	err = get(c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{gone}})).Errors[gone]
	check(errors.Is(err, kafka.UnknownTopicOrPartition), "deleted twice: %v", err)
}

var kafkaGoCodecs = map[string]compress.Compression{"none": compress.None, "gzip": compress.Gzip, "snappy": compress.Snappy,
	"lz4": compress.Lz4, "zstd": compress.Zstd}

func kafkaGoProduce() {
	for name, codec := range kafkaGoCodecs {
		topic := prefix + "p-" + name
		must(kafkaGoCreate(topic, 1))
		w := &kafka.Writer{Addr: kafka.TCP(addresses...), Topic: topic, Compression: codec, BatchTimeout: 10 * time.Millisecond,
			RequiredAcks: kafka.RequireAll}
		var all []kafka.Message
		for i := range count {
			m := kafka.Message{Key: []byte(key(i)), Value: []byte(value(i)), Headers: []kafka.Header{{Key: "h", Value: []byte(key(i))}}}
			if i%50 == 7 {
				m.Value = nil
			}
			all = append(all, m)
		}
		must(w.WriteMessages(context.Background(), all...))
		must(w.Close())
	}
	for _, acks := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne} {
		w := &kafka.Writer{Addr: kafka.TCP(addresses...), Topic: prefix + "p-acks", AllowAutoTopicCreation: true, RequiredAcks: acks,
			BatchTimeout: 10 * time.Millisecond}
		until("it is made on demand", func() bool { return w.WriteMessages(context.Background(), kafka.Message{Value: []byte("x")}) == nil })
		must(w.Close())
	}
}

func kafkaGoRead(r *kafka.Reader) kafka.Message {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return get(r.FetchMessage(ctx))
}

func kafkaGoConsume() {
	for name := range kafkaGoCodecs {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: addresses, Topic: prefix + "p-" + name, MaxWait: 100 * time.Millisecond})
		for i := range count {
			m, want := kafkaGoRead(r), value(i)
			if i%50 == 7 {
				want = ""
			}
			check(m.Offset == int64(i) && string(m.Key) == key(i) && string(m.Value) == want && string(m.Headers[0].Value) == key(i), "record %d: %v", i, m)
		}
		must(r.Close())
	}
	topic := prefix + "c"
	must(kafkaGoCreate(topic, partitions))
	kafkaGoFill(topic)
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: addresses, Topic: topic, Partition: 1, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	must(r.SetOffset(60))
	check(kafkaGoRead(r).Offset == 60, "at 60")
	must(r.SetOffsetAt(context.Background(), time.UnixMilli(1_700_000_000_122)))
	check(kafkaGoRead(r).Time.UnixMilli() >= 1_700_000_000_122, "by time")
	l := get(kafkaGoClient().ListOffsets(context.Background(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2)}}}))
	sum := int64(0)
	for _, p := range l.Topics[topic] {
		sum += p.LastOffset
	}
	check(sum == count, "%d of %d", sum, count)
}

type kafkaGoMember struct {
	has
	group  *kafka.ConsumerGroup
	cancel context.CancelFunc
	done   chan bool
}

func kafkaGoJoin(topic string) *kafkaGoMember {
	m := &kafkaGoMember{done: make(chan bool)}
	m.group = get(kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: topic, Brokers: addresses, Topics: []string{topic},
		HeartbeatInterval: 500 * time.Millisecond, JoinGroupBackoff: time.Second}))
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		for {
			g, err := m.group.Next(ctx)
			if err != nil {
				return
			}
			var mine []int32
			for _, a := range g.Assignments[topic] {
				mine = append(mine, int32(a.ID))
			}
			m.replace(mine)
			g.Start(func(ctx context.Context) {
				<-ctx.Done()
				m.replace(nil)
			})
		}
	}()
	return m
}

func (m *kafkaGoMember) leave() {
	m.cancel()
	must(m.group.Close())
	<-m.done
}

func kafkaGoGroups() {
	topic := prefix + "g"
	must(kafkaGoCreate(topic, partitions))
	a := kafkaGoJoin(topic)
	until("one member has all", func() bool { return split(&a.has) })
	b := kafkaGoJoin(topic)
	until("two members share", func() bool { return split(&a.has, &b.has) })
	d := get(kafkaGoClient().DescribeGroups(context.Background(), &kafka.DescribeGroupsRequest{GroupIDs: []string{topic}})).Groups[0]
	check(d.GroupState == "Stable" && len(d.Members) == 2, "%v", d)
	b.leave()
	until("the one that stays has all", func() bool { return split(&a.has) })
	a.leave()
}

func kafkaGoOffsets() {
	topic, ctx := prefix+"o", context.Background()
	must(kafkaGoCreate(topic, partitions))
	kafkaGoFill(topic)
	seen := map[string]bool{}
	config := kafka.ReaderConfig{Brokers: addresses, GroupID: topic, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		HeartbeatInterval: 500 * time.Millisecond}
	r := kafka.NewReader(config)
	for len(seen) < 100 {
		m := kafkaGoRead(r)
		seen[string(m.Key)] = true
		if len(seen)%10 == 0 || len(seen) > 90 {
			must(r.CommitMessages(ctx, m))
		}
	}
	must(r.Close())
	r = kafka.NewReader(config)
	again := 0
	for len(seen) < count {
		m := kafkaGoRead(r)
		if seen[string(m.Key)] {
			again++
		}
		seen[string(m.Key)] = true
	}
	must(r.Close())
	check(again < 30, "%d were read twice", again) // those between two commits of a partition
	c := kafkaGoClient()
	until("the group is empty", func() bool {
		o, err := c.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: topic, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{
			topic: {{Partition: 1, Offset: 77, Metadata: "note"}}}})
		return err == nil && o.Topics[topic][0].Error == nil
	})
	o := get(c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: topic, Topics: map[string][]int{topic: {1}}}))
	check(o.Topics[topic][0].CommittedOffset == 77 && o.Topics[topic][0].Metadata == "note", "%v", o)
	must(get(c.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{topic}})).Errors[topic])
	err := get(c.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{topic}})).Errors[topic]
	check(errors.Is(err, kafka.GroupIdNotFound), "deleted twice: %v", err)
}
