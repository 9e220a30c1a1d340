import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.connect.cli.ConnectDistributed;

/** A Kafka Connect worker in distributed mode copies a file through a topic into another file. */
public final class Connect {
    static String rest;

    static HttpResponse<String> call(String method, String path, String body) throws Exception {
        return HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(rest + path))
            .header("Content-Type", "application/json").method(method, HttpRequest.BodyPublishers.ofString(body)).build(),
            HttpResponse.BodyHandlers.ofString());
    }

    static void connector(String name, String kind, String topic, Path file) throws Exception {
        String body = String.format("{\"connector.class\":\"org.apache.kafka.connect.file.FileStream%sConnector\",\"tasks.max\":\"1\","
            + "\"file\":\"%s\",\"%s\":\"%s\"}", kind, file, kind.equals("Sink") ? "topics" : "topic", topic);
        Matrix.until(name + " is taken", () -> call("PUT", "/connectors/" + name + "/config", body).statusCode() / 100 == 2);
    }

    static void copy() throws Exception {
        Path dir = Files.createTempDirectory("floe-connect"), from = dir.resolve("from"), to = dir.resolve("to");
        int port;
        try (ServerSocket s = new ServerSocket(0)) {
            port = s.getLocalPort();
        }
        rest = "http://127.0.0.1:" + port;
        String p = Matrix.prefix;
        Path config = dir.resolve("worker.properties");
        Files.writeString(config, String.join("\n", "bootstrap.servers=" + Matrix.address, "group.id=" + p + "group",
            "listeners=" + rest, "offset.flush.interval.ms=500", "rebalance.timeout.ms=10000", "scheduled.rebalance.max.delay.ms=0",
            "key.converter=org.apache.kafka.connect.storage.StringConverter",
            "value.converter=org.apache.kafka.connect.storage.StringConverter", "plugin.discovery=only_scan",
            "config.storage.topic=" + p + "configs", "config.storage.replication.factor=1", "offset.storage.topic=" + p + "offsets",
            "offset.storage.replication.factor=1", "offset.storage.partitions=3", "status.storage.topic=" + p + "status",
            "status.storage.replication.factor=1", "status.storage.partitions=2"));
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < 200; i++)
            lines.add("line " + i);
        Files.write(from, lines);
        Thread worker = new Thread(() -> ConnectDistributed.main(new String[] {config.toString()}));
        worker.setDaemon(true);
        worker.start();
        Matrix.until("the worker answers", () -> {
            try {
                return call("GET", "/connectors", "").statusCode() == 200;
            } catch (java.io.IOException e) {
                return false;
            }
        });
        connector("source", "Source", p + "lines", from);
        connector("sink", "Sink", p + "lines", to);
        Matrix.until("200 lines are copied", () -> Files.exists(to) && Files.readAllLines(to).equals(lines));
        Files.writeString(from, "one more\n", StandardOpenOption.APPEND);
        lines.add("one more");
        Matrix.until("one more is copied", () -> Files.readAllLines(to).equals(lines));
        Matrix.until("both run", () -> call("GET", "/connectors/sink/status", "").body().contains("\"state\":\"RUNNING\"")
            && call("GET", "/connectors/source/status", "").body().contains("\"state\":\"RUNNING\""));
        Matrix.check(call("DELETE", "/connectors/source", "").statusCode() == 204, "delete");
    }

    public static void main(String[] args) {
        Matrix.address = args[0];
        Matrix.prefix = args[1];
        Runtime.getRuntime().halt(Matrix.feature("connect", Connect::copy) ? 0 : 1);
    }
}
