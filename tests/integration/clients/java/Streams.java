import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams counts words, at least once, with a repartition topic and a changelog; its state is lost and comes back. */
public final class Streams {
    static KafkaStreams start(String in, String counts, Path state) {
        StreamsBuilder b = new StreamsBuilder();
        b.<String, String>stream(in)
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((k, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts")).withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long()))
            .toStream()
            .to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        Properties p = Matrix.properties("application.id", in + "-app", "processing.guarantee", "at_least_once", "state.dir",
            state.toString(), "commit.interval.ms", "500", "session.timeout.ms", "6000", "heartbeat.interval.ms", "500", "default.key.serde", Serdes.String().getClass().getName(),
            "default.value.serde", Serdes.String().getClass().getName(), "auto.offset.reset", "earliest");
        KafkaStreams s = new KafkaStreams(b.build(), p);
        s.start();
        return s;
    }

    static void say(String topic, String line, int times) throws Exception {
        try (KafkaProducer<String, String> p = Matrix.producer()) {
            for (int i = 0; i < times; i++)
                p.send(new ProducerRecord<>(topic, "k" + i, line));
        }
    }

    static void count() throws Exception {
        String in = Matrix.prefix + "lines", counts = Matrix.prefix + "counts";
        try (Admin a = Matrix.admin()) {
            a.createTopics(List.of(new NewTopic(in, 2, (short) 1), new NewTopic(counts, 2, (short) 1))).all().get();
        }
        Path state = Files.createTempDirectory("floe-streams");
        Map<String, Long> seen = new HashMap<>();
        Properties p = Matrix.properties("auto.offset.reset", "earliest", "group.id", counts, "metadata.max.age.ms", "1000");
        try (KafkaConsumer<String, Long> c = new KafkaConsumer<>(p, new StringDeserializer(), new LongDeserializer())) {
            c.subscribe(List.of(counts));
            say(in, "the quick brown fox and the lazy dog", 50);
            KafkaStreams s = start(in, counts, state);
            Matrix.until("50 lines are counted: " + seen, () -> {
                c.poll(Duration.ofMillis(100)).forEach(r -> seen.put(r.key(), r.value()));
                return seen.getOrDefault("the", 0L) == 100 && seen.getOrDefault("fox", 0L) == 50;
            });
            Matrix.check(s.close(Duration.ofSeconds(20)), "streams did not close");
            say(in, "the end", 10);
            // It does not leave its group; the counts come from the changelog.
            s = start(in, counts, Files.createTempDirectory("floe-streams"));
            Matrix.until("60 lines are counted: " + seen, () -> {
                c.poll(Duration.ofMillis(100)).forEach(r -> seen.put(r.key(), r.value()));
                return seen.getOrDefault("the", 0L) == 110 && seen.getOrDefault("end", 0L) == 10;
            });
            Matrix.check(seen.get("fox") == 50, seen);
            Matrix.check(s.close(Duration.ofSeconds(20)), "streams did not close");
        }
    }

    public static void main(String[] args) {
        Matrix.address = args[0];
        Matrix.prefix = args[1];
        System.exit(Matrix.feature("streams", Streams::count) ? 0 : 1);
    }
}
