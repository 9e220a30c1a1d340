package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var franz = map[string]func(){
	"admin": franzAdmin, "produce": franzProduce, "consume": franzConsume,
	"groups":      func() { franzGroups("g", kgo.Balancers(kgo.RangeBalancer())) },
	"cooperative": func() { franzGroups("gc", kgo.Balancers(kgo.CooperativeStickyBalancer())) },
	"offsets":     func() { franzOffsets("o") },
	"kip848": func() {
		franz848 = true
		franzGroups("g8")
		franzOffsets("o8")
		franz848 = false
	},
}

// franz-go speaks the new protocol when its context says so.
var franz848 bool

func franzContext() context.Context {
	ctx := context.Background()
	if franz848 {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //nolint
	}
	return ctx
}

func franzClient(opts ...kgo.Opt) *kgo.Client {
	return get(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addresses...), kgo.WithContext(franzContext()),
		kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100 * time.Millisecond)}, opts...)...))
}

func franzCreate(topic string) {
	c := franzClient()
	defer c.Close()
	get(kadm.NewClient(c).CreateTopic(context.Background(), partitions, 1, nil, topic))
}

func franzFill(topic string) {
	c := franzClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic))
	defer c.Close()
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{Partition: int32(i % partitions), Key: []byte(key(i)), Value: []byte(value(i)),
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))})
	}
	must(c.ProduceSync(context.Background(), records...).FirstErr())
	for i, r := range records {
		check(r.Offset == int64(i/partitions), "offset %d of record %d", r.Offset, i)
	}
}

func franzAdmin() {
	c := franzClient()
	defer c.Close()
	a, ctx := kadm.NewClient(c), context.Background()
	topic, gone, ms := prefix+"a", prefix+"gone", "600000"
	get(a.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &ms}, topic))
	get(a.CreateTopic(ctx, -1, -1, nil, gone))
	_, err := a.CreateTopic(ctx, 1, 1, nil, topic)
	check(errors.Is(err, kerr.TopicAlreadyExists), "made twice: %v", err)
	_, err = a.CreateTopic(ctx, 1, 1, nil, "no/slash")
	check(errors.Is(err, kerr.InvalidTopicException), "a bad name: %v", err)
	must(get(a.CreatePartitions(ctx, 2, topic))[topic].Err)
	until("four partitions", func() bool { return len(get(a.ListTopics(ctx, topic))[topic].Partitions) == 4 })
	big := "12345"
	must(get(a.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &big}}, topic))[0].Err)
	found := map[string]string{}
	for _, e := range get(get(a.DescribeTopicConfigs(ctx, topic)).On(topic, nil)).Configs {
		found[e.Key] = e.MaybeValue()
	}
	check(found["retention.ms"] == ms && found["max.message.bytes"] == big, "%v", found)
	check(get(a.ListTopics(ctx)).Has(gone), "listed")
	must(get(a.DeleteTopics(ctx, gone)).Error())
	until("deleted", func() bool { return !get(a.ListTopics(ctx)).Has(gone) }) // it caches
	check(errors.Is(get(a.DeleteTopics(ctx, gone)).Error(), kerr.UnknownTopicOrPartition), "deleted twice")
	get(a.ApiVersions(ctx))
	check(len(get(a.ListBrokers(ctx))) >= 1, "brokers")
}

func franzProduce() {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for name, codec := range codecs {
		c := franzClient(kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic(prefix+"p-"+name))
		var records []*kgo.Record
		for i := range count {
			r := &kgo.Record{Key: []byte(key(i)), Value: []byte(value(i)), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(key(i))}}}
			if i%50 == 7 {
				r.Value = nil
			}
			records = append(records, r)
		}
		must(c.ProduceSync(context.Background(), records...).FirstErr())
		for i, r := range records {
			check(r.Offset == int64(i), "offset %d of record %d", r.Offset, i)
		}
		c.Close()
	}
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck()} {
		c := franzClient(kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.AllowAutoTopicCreation())
		must(c.ProduceSync(context.Background(), &kgo.Record{Topic: prefix + "p-acks", Value: []byte("x")}).FirstErr())
		c.Close()
	}
}

// Polls until there are so many records.
func franzRead(c *kgo.Client, n int) (got []*kgo.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for len(got) < n {
		fetches := c.PollFetches(ctx)
		must(ctx.Err())
		must(fetches.Err())
		got = append(got, fetches.Records()...)
	}
	check(len(got) == n, "read %d of %d", len(got), n)
	return got
}

func franzConsume() {
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		c := franzClient(kgo.ConsumeTopics(prefix+"p-"+name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		for i, r := range franzRead(c, count) {
			want := value(i)
			if i%50 == 7 {
				want = ""
			}
			check(string(r.Key) == key(i) && string(r.Value) == want && string(r.Headers[0].Value) == key(i), "record %d: %v", i, r)
		}
		c.Close()
	}
	topic := prefix + "c"
	franzCreate(topic)
	franzFill(topic)
	// Small fetches within one session; then only one partition of it changes.
	c := franzClient(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(1000),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer c.Close()
	seen := map[string]bool{}
	for _, r := range franzRead(c, count) {
		seen[string(r.Key)] = true
	}
	check(len(seen) == count, "%d of %d", len(seen), count)
	p := franzClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer p.Close()
	for i := range 5 {
		r := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(value(i))}
		must(p.ProduceSync(context.Background(), r).FirstErr())
		check(string(franzRead(c, 1)[0].Value) == value(i), "the late one")
	}
	a, ctx := kadm.NewClient(c), context.Background()
	end, _ := get(a.ListEndOffsets(ctx, topic)).Lookup(topic, 2)
	check(end.Offset == count/partitions+1, "end %d", end.Offset)
	at, _ := get(a.ListOffsetsAfterMilli(ctx, 1_700_000_000_122, topic)).Lookup(topic, 1)
	check(at.Offset == 41 && at.Timestamp == 1_700_000_000_124, "by time: %v", at)
	direct := franzClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {1: kgo.NewOffset().At(60)}}))
	defer direct.Close()
	check(franzRead(direct, 42)[0].Offset == 60, "at 60")
}

type franzMember struct {
	has
	c    *kgo.Client
	done sync.WaitGroup
}

func franzJoin(topic string, opts ...kgo.Opt) *franzMember {
	m := &franzMember{}
	lose := func(_ context.Context, _ *kgo.Client, l map[string][]int32) { m.set(l[topic], false) }
	m.c = franzClient(append([]kgo.Opt{kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, l map[string][]int32) { m.set(l[topic], true) }),
		kgo.OnPartitionsRevoked(lose), kgo.OnPartitionsLost(lose)}, opts...)...)
	m.done.Add(1)
	go func() {
		defer m.done.Done()
		for !m.c.PollFetches(context.Background()).IsClientClosed() {
		}
	}()
	return m
}

func (m *franzMember) leave() {
	m.c.Close()
	m.done.Wait()
}

func franzGroups(name string, opts ...kgo.Opt) {
	topic := prefix + name
	franzCreate(topic)
	a := franzJoin(topic, opts...)
	until("one member has all", func() bool { return split(&a.has) })
	b := franzJoin(topic, opts...)
	until("two members share", func() bool { return split(&a.has, &b.has) })
	adm := kadm.NewClient(a.c)
	if !franz848 {
		d := get(adm.DescribeGroups(context.Background(), topic))[topic]
		check(d.State == "Stable" && len(d.Members) == 2, "%v", d)
	}
	check(get(adm.ListGroups(context.Background())).Groups() != nil, "listed")
	b.leave()
	until("the one that stays has all", func() bool { return split(&a.has) })
	a.leave()
}

func franzOffsets(name string) {
	topic, ctx := prefix+name, context.Background()
	franzCreate(topic)
	franzFill(topic)
	seen := map[string]bool{}
	opts := []kgo.Opt{kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.FetchMaxPartitionBytes(2000),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	c := franzClient(opts...)
	for len(seen) < 100 {
		for _, r := range c.PollRecords(ctx, 20).Records() {
			seen[string(r.Key)] = true
		}
	}
	must(c.CommitUncommittedOffsets(ctx))
	c.Close()
	check(len(seen) < count, "not all was read")
	c = franzClient(opts...)
	for len(seen) < count {
		for _, r := range c.PollFetches(ctx).Records() {
			check(!seen[string(r.Key)], "read twice: %s", r.Key)
			seen[string(r.Key)] = true
		}
	}
	c.Close()
	p := franzClient()
	defer p.Close()
	adm := kadm.NewClient(p)
	until("the group is empty", func() bool {
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: topic, Partition: 1, At: 77, LeaderEpoch: -1, Metadata: "note"})
		return adm.CommitAllOffsets(ctx, topic, o) == nil
	})
	o, _ := get(adm.FetchOffsets(ctx, topic)).Lookup(topic, 1)
	check(o.At == 77 && o.Metadata == "note", "%v", o)
	_, err := adm.DeleteGroup(ctx, topic)
	must(err)
	_, err = adm.DeleteGroup(ctx, topic)
	check(errors.Is(err, kerr.GroupIDNotFound), "deleted twice: %v", err)
}
