import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import org.apache.kafka.common.utils.Exit;

/** Apache Kafka's console tools, as their scripts start them, in one process. */
public final class Tools {
    static final class Ended extends RuntimeException {
    }

    static Integer status; // the first one: a tool's own "catch everything" ends once more

    static String address, prefix;
    static final PrintStream out = System.out, err = System.err;
    static final InputStream in = System.in;

    static Method tool(String... names) throws Exception {
        for (String name : names) {
            try {
                return Class.forName(name).getMethod("main", String[].class);
            } catch (ClassNotFoundException e) {
                continue;
            }
        }
        throw new ClassNotFoundException(names[0]);
    }

    /** Runs a tool's main; what it printed. Exit codes other than `wanted` are failures. */
    static String run(int wanted, String input, Method tool, String... args) throws Exception {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        status = null;
        PrintStream both = new PrintStream(printed, true);
        System.setOut(both);
        System.setErr(both);
        System.setIn(new ByteArrayInputStream(input.getBytes()));
        try {
            scala.Console$.MODULE$.setOutDirect(both); // tools in Scala print there
            tool.invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended))
                throw new AssertionError(printed + " " + e.getCause(), e.getCause());
        } finally {
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
        int code = status == null ? 0 : status;
        Matrix.check(code == wanted, tool.getDeclaringClass() + " " + String.join(" ", args) + ": exit " + code + "\n" + printed);
        return printed.toString();
    }

    static String ok(Method tool, String... args) throws Exception {
        return run(0, "", tool, args);
    }

    static void has(String text, String... parts) {
        for (String p : parts)
            Matrix.check(text.contains(p), "\"" + p + "\" is not in:\n" + text);
    }

    static void hasNot(String text, String part) {
        Matrix.check(!text.contains(part), "\"" + part + "\" is in:\n" + text);
    }

    static void tools() throws Exception {
        Method topics = tool("org.apache.kafka.tools.TopicCommand");
        Method groups = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand");
        Method configs = tool("kafka.admin.ConfigCommand");
        Method offsets = tool("org.apache.kafka.tools.GetOffsetShell");
        Method producer = tool("org.apache.kafka.tools.ConsoleProducer", "kafka.tools.ConsoleProducer");
        Method consumer = tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
        String b = "--bootstrap-server", t = prefix + "t", g = prefix + "g";

        has(ok(topics, b, address, "--create", "--topic", t, "--partitions", "2", "--config", "retention.ms=600000"), "Created topic");
        has(run(1, "", topics, b, address, "--create", "--topic", t), "already exists");
        has(ok(topics, b, address, "--describe", "--topic", t), "PartitionCount: 2", "retention.ms=600000", "Partition: 1");
        has(ok(topics, b, address, "--alter", "--topic", t, "--partitions", "3"), "");
        has(ok(topics, b, address, "--describe", "--topic", t), "PartitionCount: 3");
        has(ok(topics, b, address, "--list"), t);
        ok(topics, b, address, "--describe", "--under-replicated-partitions");

        has(ok(configs, b, address, "--alter", "--entity-type", "topics", "--entity-name", t, "--add-config",
            "max.message.bytes=54321,cleanup.policy=[compact,delete]"), "Completed updating config");
        has(ok(configs, b, address, "--describe", "--entity-type", "topics", "--entity-name", t), "max.message.bytes=54321",
            "cleanup.policy=compact,delete");
        ok(configs, b, address, "--alter", "--entity-type", "topics", "--entity-name", t, "--delete-config",
            "max.message.bytes,cleanup.policy");
        hasNot(ok(configs, b, address, "--describe", "--entity-type", "topics", "--entity-name", t), "54321");
        has(ok(configs, b, address, "--describe", "--all", "--entity-type", "topics", "--entity-name", t), "max.message.bytes=1048588");
        ok(configs, b, address, "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1");

        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 90; i++)
            lines.append("k").append(i).append(":line ").append(i).append("\n");
        run(0, lines.toString(), producer, b, address, "--topic", t, "--property", "parse.key=true", "--property", "key.separator=:");
        String read = ok(consumer, b, address, "--topic", t, "--group", g, "--from-beginning", "--max-messages", "90", "--timeout-ms", "20000",
            "--property", "print.key=true", "--property", "print.offset=true");
        for (int i = 0; i < 90; i++)
            has(read, "k" + i + "\tline " + i + "\n");
        String ends = ok(offsets, b, address, "--topic", t, "--time", "-1");
        int sum = 0;
        for (String line : ends.split("\n"))
            sum += line.startsWith(t + ":") ? Integer.parseInt(line.split(":")[2].trim()) : 0;
        Matrix.check(sum == 90, ends);
        has(ok(offsets, b, address, "--topic", t, "--time", "earliest"), t + ":0:0", t + ":2:0");

        has(ok(groups, b, address, "--list"), g);
        has(ok(groups, b, address, "--list", "--state"), "Empty");
        has(ok(groups, b, address, "--describe", "--group", g), "has no active members", "LOG-END-OFFSET");
        has(ok(groups, b, address, "--describe", "--state", "--group", g), "Empty");
        has(ok(groups, b, address, "--reset-offsets", "--group", g, "--topic", t, "--to-earliest", "--execute"), "NEW-OFFSET");
        String[] row = ok(groups, b, address, "--describe", "--offsets", "--group", g).split("\n");
        Matrix.check(row[row.length - 1].matches(g + " +" + t + " +\\d +0 .*"), row[row.length - 1]);
        has(ok(groups, b, address, "--reset-offsets", "--group", g, "--topic", t, "--to-latest", "--dry-run"), "NEW-OFFSET");
        has(ok(groups, b, address, "--delete-offsets", "--group", g, "--topic", t), "Successful");
        has(ok(groups, b, address, "--delete", "--group", g), "successful");
        String none = ok(groups, b, address, "--describe", "--group", g); // 4 speaks otherwise than 3
        Matrix.check(none.contains("does not exist") || none.contains("GroupIdNotFoundException"), none);

        ok(topics, b, address, "--delete", "--topic", t);
        hasNot(ok(topics, b, address, "--list"), t);
    }

    static void ended(int code, String message) {
        if (message != null)
            System.err.println(message);
        status = status == null ? code : status;
        throw new Ended();
    }

    public static void main(String[] args) throws Exception {
        address = Matrix.address = args[0];
        prefix = Matrix.prefix = args[1];
        Exit.setExitProcedure(Tools::ended);
        Exit.setHaltProcedure(Tools::ended);
        boolean ok = Matrix.feature("tools", Tools::tools);
        Runtime.getRuntime().halt(ok ? 0 : 1);
    }
}
