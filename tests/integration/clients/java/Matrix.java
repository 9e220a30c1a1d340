import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's Java client: arguments are the broker's address and a prefix for names. A line a feature. */
public final class Matrix {
    static final int PARTITIONS = 3, COUNT = 300;
    static final long T0 = 1_700_000_000_000L;
    static String address, prefix;

    interface Feature {
        void run() throws Exception;
    }

    static boolean feature(String name, Feature f) {
        try {
            f.run();
            System.out.println("ok " + name);
            return true;
        } catch (Throwable e) {
            System.out.println("failed " + name + ": " + e);
            e.printStackTrace();
            return false;
        }
    }

    static void check(boolean ok, Object what) {
        if (!ok)
            throw new AssertionError(String.valueOf(what));
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(40);
        while (!condition.call()) {
            check(System.nanoTime() < end, "not within 40 s: " + what);
            Thread.sleep(20);
        }
    }

    static void raises(Class<? extends Exception> want, Future<?> f) throws Exception {
        try {
            f.get(30, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            check(want.isInstance(e.getCause()), "wanted " + want + ", got " + e.getCause());
            return;
        }
        throw new AssertionError("nothing raised, wanted " + want);
    }

    static Properties properties(String... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", address);
        for (int i = 0; i < pairs.length; i += 2)
            p.put(pairs[i], pairs[i + 1]);
        return p;
    }

    static Admin admin() {
        return Admin.create(properties());
    }

    static KafkaProducer<String, String> producer(String... pairs) {
        return new KafkaProducer<>(properties(pairs), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String... pairs) {
        Properties p = properties("auto.offset.reset", "earliest", "enable.auto.commit", "false", "session.timeout.ms",
            "10000", "heartbeat.interval.ms", "500", "metadata.max.age.ms", "1000");
        p.putAll(properties(pairs));
        if ("consumer".equals(p.get("group.protocol"))) { // the broker says when to send heartbeats
            p.remove("session.timeout.ms");
            p.remove("heartbeat.interval.ms");
        }
        return new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    }

    static List<TopicPartition> parts(String topic) {
        List<TopicPartition> l = new ArrayList<>();
        for (int i = 0; i < PARTITIONS; i++)
            l.add(new TopicPartition(topic, i));
        return l;
    }

    static void create(String topic) throws Exception {
        try (Admin a = admin()) {
            a.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        }
    }

    static void fill(String topic) throws Exception {
        try (KafkaProducer<String, String> p = producer()) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < COUNT; i++)
                sent.add(p.send(new ProducerRecord<>(topic, i % PARTITIONS, T0 + i, "k" + i, "v" + i)));
            for (int i = 0; i < COUNT; i++)
                check(sent.get(i).get().offset() == i / PARTITIONS, sent.get(i).get());
        }
    }

    static void produce() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> p = producer("compression.type", codec, "linger.ms", "5")) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int i = 0; i < COUNT; i++) {
                    ProducerRecord<String, String> r = new ProducerRecord<>(prefix + "p-" + codec, 0, T0 + i, "k" + i,
                        i % 50 == 7 ? null : ("v" + i + " ").repeat(20));
                    r.headers().add("h", ("" + i).getBytes()).add("none", null);
                    sent.add(p.send(r));
                }
                for (int i = 0; i < COUNT; i++)
                    check(sent.get(i).get(30, TimeUnit.SECONDS).offset() == i, sent.get(i));
            }
        }
        for (String acks : List.of("0", "1")) {
            try (KafkaProducer<String, String> p = producer("acks", acks, "enable.idempotence", "false")) {
                p.send(new ProducerRecord<>(prefix + "p-acks", "x")).get(30, TimeUnit.SECONDS);
            }
        }
        try (KafkaProducer<String, String> p = producer("max.request.size", "9000000", "buffer.memory", "40000000")) {
            raises(RecordTooLargeException.class, p.send(new ProducerRecord<>(prefix + "p-none", 0, "k", "x".repeat(2 << 20))));
            check(p.send(new ProducerRecord<>(prefix + "p-none", 0, "k", "fine")).get().offset() == COUNT, "the next offset");
        }
    }

    static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> c, int count) {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (got.size() < count && System.nanoTime() < end)
            c.poll(java.time.Duration.ofMillis(200)).forEach(got::add);
        check(got.size() == count, "read " + got.size() + " of " + count);
        return got;
    }

    static void consume() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaConsumer<String, String> c = consumer()) {
                TopicPartition tp = new TopicPartition(prefix + "p-" + codec, 0);
                c.assign(List.of(tp));
                c.seekToBeginning(List.of(tp));
                int n = 0;
                for (ConsumerRecord<String, String> r : read(c, codec.equals("none") ? COUNT + 1 : COUNT)) {
                    check(r.offset() == n, r);
                    if (n < COUNT) {
                        check(r.key().equals("k" + n) && r.timestamp() == T0 + n, r);
                        check(n % 50 == 7 ? r.value() == null : r.value().equals(("v" + n + " ").repeat(20)), r);
                        check(new String(r.headers().lastHeader("h").value()).equals("" + n), r);
                        check(r.headers().lastHeader("none").value() == null, r);
                    }
                    n++;
                }
            }
        }
        String topic = prefix + "c";
        create(topic);
        fill(topic);
        // With small limits: many fetches, all within one fetch session.
        try (KafkaConsumer<String, String> c = consumer("max.partition.fetch.bytes", "1000", "isolation.level",
                 "read_committed")) {
            c.assign(parts(topic));
            Set<String> values = new TreeSet<>();
            read(c, COUNT).forEach(r -> values.add(r.value()));
            check(values.size() == COUNT, values.size());
            TopicPartition one = new TopicPartition(topic, 1);
            check(c.beginningOffsets(parts(topic)).get(one) == 0, "beginning");
            check(c.endOffsets(parts(topic)).get(one) == COUNT / PARTITIONS, "end");
            OffsetAndTimestamp at = c.offsetsForTimes(Map.of(one, T0 + 122)).get(one);
            check(at.offset() == 41 && at.timestamp() == T0 + 124, at);
            c.pause(List.of(new TopicPartition(topic, 0)));
            c.seek(one, 60);
            check(read(c, 40).get(0).offset() == 60, "after seek");
            c.resume(List.of(new TopicPartition(topic, 0)));
            try (KafkaProducer<String, String> p = producer()) { // only one partition of the session changes
                for (int i = 0; i < 5; i++) {
                    p.send(new ProducerRecord<>(topic, i % PARTITIONS, "k", "late" + i)).get();
                    check(read(c, 1).get(0).value().equals("late" + i), "the late one");
                }
            }
            c.assign(List.of(one)); // the others are forgotten
            c.seek(one, 0);
            check(read(c, COUNT / PARTITIONS + 2).stream().allMatch(r -> r.partition() == 1), "partition 1 only");
        }
    }

    /** A consumer in a thread of its own. */
    static final class Member extends Thread {
        final KafkaConsumer<String, String> c;
        volatile boolean ending;
        volatile Set<TopicPartition> has = Set.of();
        volatile Throwable error;

        Member(String topic, String... pairs) {
            this(c -> c.subscribe(List.of(topic)), pairs);
        }

        Member(java.util.function.Consumer<KafkaConsumer<String, String>> subscribe, String... pairs) {
            c = consumer(pairs);
            subscribe.accept(c);
            start();
        }

        @Override
        public void run() {
            try {
                while (!ending) {
                    c.poll(java.time.Duration.ofMillis(50));
                    has = Set.copyOf(c.assignment());
                }
                c.close();
            } catch (Throwable e) {
                error = e;
            }
        }

        void end() throws Exception {
            ending = true;
            join(30000);
            check(!isAlive() && error == null, "the member's end: " + error);
        }
    }

    static boolean split(String topic, Member... members) {
        List<TopicPartition> all = new ArrayList<>();
        for (Member m : members) {
            check(m.error == null, m.error);
            if (m.has.isEmpty())
                return false;
            all.addAll(m.has);
        }
        return all.size() == PARTITIONS && all.containsAll(parts(topic));
    }

    static void groups(String name, String... more) throws Exception {
        String topic = prefix + name;
        String[] pairs = Arrays.copyOf(more, more.length + 2);
        pairs[more.length] = "group.id";
        pairs[more.length + 1] = topic;
        create(topic);
        Member a = new Member(topic, pairs);
        until("one member has all", () -> split(topic, a));
        Member b = new Member(topic, pairs);
        until("two members share", () -> split(topic, a, b));
        try (Admin admin = admin()) {
            ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(topic)).all().get().get(topic);
            check(d.members().size() == 2 && d.state().toString().equals("Stable"), d);
            check(admin.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(topic)), "listed");
        }
        b.end();
        until("the one that stays has all", () -> split(topic, a));
        a.end();
    }

    /** The broker matches the expression (KIP-848); the class is there since 4.0. */
    static void regex() throws Exception {
        Class<?> pattern;
        try {
            pattern = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern");
        } catch (ClassNotFoundException e) {
            return;
        }
        String topic = prefix + "re-1";
        Object matching = pattern.getConstructor(String.class).newInstance(prefix + "re-\\d");
        create(topic);
        create(prefix + "re-x");
        Member m = new Member(c -> {
            try {
                KafkaConsumer.class.getMethod("subscribe", pattern).invoke(c, matching);
            } catch (ReflectiveOperationException e) {
                throw new AssertionError(e);
            }
        }, "group.id", prefix + "re", "group.protocol", "consumer");
        until("what matches is assigned", () -> split(topic, m));
        create(prefix + "re-2");
        until("a topic that came later, too", () -> m.has.size() == 2 * PARTITIONS);
        m.end();
    }

    static void offsets(String protocol) throws Exception {
        String topic = prefix + "o-" + protocol;
        create(topic);
        fill(topic);
        TopicPartition one = new TopicPartition(topic, 1);
        String[] pairs = {"group.id", topic, "group.protocol", protocol, "max.poll.records", "50"};
        Map<TopicPartition, Long> at = new HashMap<>();
        Set<String> values = new TreeSet<>();
        try (KafkaConsumer<String, String> c = consumer(pairs)) {
            c.subscribe(List.of(topic));
            while (values.size() < 100)
                c.poll(java.time.Duration.ofMillis(200)).forEach(r -> values.add(r.value()));
            c.commitSync();
            c.assignment().forEach(tp -> at.put(tp, c.position(tp)));
        }
        check(values.size() < COUNT, "not all was read");
        try (KafkaConsumer<String, String> c = consumer(pairs)) {
            c.subscribe(List.of(topic));
            while (values.size() < COUNT) {
                for (ConsumerRecord<String, String> r : c.poll(java.time.Duration.ofMillis(200)))
                    check(values.add(r.value()), "read twice: " + r);
            }
            c.commitSync(Map.of(one, new OffsetAndMetadata(77, Optional.of(0), "note")));
            OffsetAndMetadata m = c.committed(Set.of(one)).get(one);
            check(m.offset() == 77 && m.metadata().equals("note"), m);
        }
        try (Admin a = admin()) {
            until("the group is empty", () -> a.describeConsumerGroups(List.of(topic)).all().get().get(topic).members().isEmpty());
            Map<TopicPartition, OffsetAndMetadata> m = a.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get();
            check(m.get(one).offset() == 77 && m.get(one).metadata().equals("note"), m);
            a.alterConsumerGroupOffsets(topic, Map.of(one, new OffsetAndMetadata(5))).all().get();
            a.deleteConsumerGroupOffsets(topic, Set.of(new TopicPartition(topic, 0))).all().get();
            m = a.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get();
            check(m.get(one).offset() == 5 && !m.containsKey(new TopicPartition(topic, 0)), m);
            a.deleteConsumerGroups(List.of(topic)).all().get();
            raises(GroupIdNotFoundException.class, a.deleteConsumerGroups(List.of(topic)).all());
        }
    }

    static void administration() throws Exception {
        String topic = prefix + "a", gone = prefix + "gone";
        try (Admin a = admin()) {
            check(a.describeCluster().nodes().get().size() >= 1 && !a.describeCluster().clusterId().get().isEmpty(), "cluster");
            a.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "600000")),
                new NewTopic(gone, Optional.empty(), Optional.empty()))).all().get();
            raises(TopicExistsException.class, a.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all());
            raises(InvalidTopicException.class, a.createTopics(List.of(new NewTopic("no/slash", 1, (short) 1))).all());
            raises(InvalidConfigurationException.class,
                a.createTopics(List.of(new NewTopic(prefix + "bad", 1, (short) 1).configs(Map.of("no.such", "1")))).all());
            TopicDescription d = a.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            check(d.partitions().size() == 2 && d.partitions().get(0).leader() != null, d);
            a.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
            until("four partitions",
                () -> a.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 4);
            ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            a.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("max.message.bytes", "12345"),
                AlterConfigOp.OpType.SET)))).all().get();
            Config c = a.describeConfigs(List.of(r)).all().get().get(r);
            check(c.get("max.message.bytes").value().equals("12345") && c.get("retention.ms").value().equals("600000"), c);
            check(c.get("cleanup.policy").isDefault(), c.get("cleanup.policy"));
            TopicPartition tp = new TopicPartition(topic, 3);
            check(a.listOffsets(Map.of(tp, OffsetSpec.latest())).all().get().get(tp).offset() == 0, "latest");
            check(a.listTopics().names().get().containsAll(List.of(topic, gone)), "listed");
            a.deleteTopics(List.of(gone)).all().get();
            check(!a.listTopics().names().get().contains(gone), "deleted");
            raises(UnknownTopicOrPartitionException.class, a.deleteTopics(List.of(gone)).all());
        }
    }

    public static void main(String[] args) throws Exception {
        address = args[0];
        prefix = args[1];
        Locale.setDefault(Locale.ROOT);
        Map<String, Feature> all = new LinkedHashMap<>();
        all.put("admin", Matrix::administration);
        all.put("produce", Matrix::produce);
        all.put("consume", Matrix::consume);
        all.put("groups", () -> groups("g-range", "group.protocol", "classic", "partition.assignment.strategy",
            "org.apache.kafka.clients.consumer.RangeAssignor"));
        all.put("offsets", () -> offsets("classic"));
        all.put("cooperative", () -> groups("g-coop", "group.protocol", "classic", "partition.assignment.strategy",
            "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        all.put("kip848", () -> {
            groups("g-848", "group.protocol", "consumer");
            regex();
            offsets("consumer");
        });
        boolean ok = true;
        for (String name : args[2].split(","))
            ok &= feature(name, all.get(name));
        System.exit(ok ? 0 : 1);
    }
}
