import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;

/** Members of a group change from the classic to the consumer protocol and back, one by one, while records are written. */
public final class Migrate {
    static final int MEMBERS = 3;

    /** What all members of a group did. */
    static final class Group {
        final String name;
        final Map<TopicPartition, Member> owner = new ConcurrentHashMap<>();
        final Map<TopicPartition, Integer> next = new HashMap<>();
        String wrong;
        int twice;
        volatile int lost;

        Group(String name) {
            this.name = name;
        }

        synchronized void wrong(String what) {
            if (wrong == null)
                wrong = what;
        }

        /** Records are numbered from 0 in each partition. */
        synchronized void read(ConsumerRecord<String, String> r) {
            TopicPartition tp = new TopicPartition(r.topic(), r.partition());
            int number = Integer.parseInt(r.value()), due = next.getOrDefault(tp, 0);
            if (number > due)
                wrong(tp + ": " + due + " to " + (number - 1) + " were not read");
            if (number < due)
                twice++;
            next.put(tp, Math.max(due, number + 1));
        }

        synchronized int least(String topic) {
            return Matrix.parts(topic).stream().mapToInt(tp -> next.getOrDefault(tp, 0)).min().orElse(0);
        }
    }

    static final class Member extends Thread implements ConsumerRebalanceListener {
        final Group group;
        final KafkaConsumer<String, String> c;
        final Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        volatile boolean ending;
        volatile Throwable error;

        Member(Group group, String... pairs) {
            this.group = group;
            c = Matrix.consumer(pairs);
            start();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> parts) {
            for (TopicPartition tp : parts)
                if (group.owner.put(tp, this) != null)
                    group.wrong(tp + " has two owners");
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> parts) {
            commit();
            parts.forEach(tp -> group.owner.remove(tp, this));
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> parts) {
            if (!ending) // one that ends between its JoinGroup and its SyncGroup calls what it has lost, by itself
                group.lost += parts.size();
            parts.forEach(done::remove);
            parts.forEach(tp -> group.owner.remove(tp, this));
        }

        void commit() {
            try {
                done.keySet().retainAll(c.assignment());
                c.commitSync(done);
                done.clear();
            } catch (RebalanceInProgressException | CommitFailedException e) {
                // not committed: nothing was promised
            }
        }

        @Override
        public void run() {
            try {
                c.subscribe(List.of(group.name), this);
                while (!ending) {
                    for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(50))) {
                        group.read(r);
                        done.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                    }
                    commit();
                }
                c.close();
            } catch (Throwable e) {
                error = e;
            } finally {
                group.owner.values().removeIf(m -> m == this);
            }
        }

        void end() throws Exception {
            ending = true;
            join(30000);
            Matrix.check(!isAlive() && error == null, "the member's end: " + error);
        }
    }

    /** Numbers to every partition until it is stopped. */
    static final class Load extends Thread {
        final String topic;
        volatile boolean ending;
        volatile int count;

        Load(String topic) {
            this.topic = topic;
            start();
        }

        @Override
        public void run() {
            try (KafkaProducer<String, String> p = Matrix.producer("linger.ms", "20")) {
                for (; !ending; count++) {
                    for (TopicPartition tp : Matrix.parts(topic))
                        p.send(new ProducerRecord<>(topic, tp.partition(), "k", "" + count));
                    Thread.sleep(10);
                }
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    static boolean shared(Group g, List<Member> members) {
        for (Member m : members)
            Matrix.check(m.error == null, m.error);
        return g.owner.size() == Matrix.PARTITIONS && g.owner.values().containsAll(members);
    }

    static void is(Group g, String type) throws Exception {
        try (Admin admin = Matrix.admin()) {
            Matrix.until(g.name + " is " + type, () -> {
                ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(g.name)).all().get().get(g.name);
                return d.members().size() == MEMBERS && d.state().toString().equals("Stable")
                    && d.type().toString().equalsIgnoreCase(type);
            });
        }
    }

    static void migrate(String name, boolean fixed, String... classic) throws Exception {
        Group g = new Group(Matrix.prefix + name);
        Matrix.create(g.name);
        Load load = new Load(g.name);
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < MEMBERS; i++)
            members.add(new Member(g, pairs(g, i, fixed, classic)));
        Matrix.until(g.name + ": classic members share", () -> shared(g, members));
        is(g, "classic");
        for (String[] protocol : List.of(new String[] {"group.protocol", "consumer"}, classic)) {
            for (int i = 0; i < MEMBERS; i++) {
                members.get(i).end();
                members.set(i, new Member(g, pairs(g, i, fixed, protocol)));
                Matrix.until(g.name + ": they share with one of " + protocol[1], () -> shared(g, members));
                is(g, protocol == classic && i == MEMBERS - 1 ? "classic" : "consumer");
            }
        }
        load.ending = true;
        load.join(30000);
        Matrix.until(g.name + ": everything is read", () -> g.least(g.name) == load.count);
        Matrix.check(g.lost == 0, g.lost + " partitions were taken for lost");
        for (Member m : members) // one that ends while the others rebalance calls what it has lost
            m.end();
        Matrix.check(g.wrong == null, g.wrong);
        System.out.println(g.name + ": " + load.count * Matrix.PARTITIONS + " records, " + g.twice + " read twice");
    }

    static String[] pairs(Group g, int i, boolean fixed, String... protocol) {
        List<String> l = new ArrayList<>(List.of("group.id", g.name));
        l.addAll(List.of(protocol));
        if (fixed)
            l.addAll(List.of("group.instance.id", "i-" + i));
        return l.toArray(new String[0]);
    }

    static void all() throws Exception {
        String strategy = "partition.assignment.strategy", package_ = "org.apache.kafka.clients.consumer.";
        migrate("migrate", false, "group.protocol", "classic");
        migrate("migrate-coop", false, "group.protocol", "classic", strategy, package_ + "CooperativeStickyAssignor");
        migrate("migrate-static", true, "group.protocol", "classic", strategy, package_ + "StickyAssignor");
    }

    public static void main(String[] args) throws Exception {
        Matrix.address = args[0];
        Matrix.prefix = args[1];
        System.exit(Matrix.feature("migrate", Migrate::all) ? 0 : 1);
    }
}
